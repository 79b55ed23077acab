"""The voice's process: its parts put together, started, and ended. `vtuber-brain voice` runs it."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from vtuber_brain.runtime import notify, signals
from vtuber_brain.sections import BusSettings
from vtuber_brain.voice.avatars import find_avatar
from vtuber_brain.voice.device import Device, open_device
from vtuber_brain.voice.ears import Ears
from vtuber_brain.voice.engines import SpeechEngine
from vtuber_brain.voice.files import Files
from vtuber_brain.voice.output import Output
from vtuber_brain.voice.overlay import Overlay
from vtuber_brain.voice.synthesis import Synthesis
from vtuber_brain.voice.voice import Voice
from vtuber_brain.voice.wire import Face
from vtuber_brain.voice_sections import PersonaVoice, VoiceSettings

log = structlog.get_logger(__name__)

DRAIN_S = 1.0
END_S = 5
"""Whole seconds (`signal.alarm`) from the order to end until the system ends this process."""


@dataclass(frozen=True, slots=True)
class Character:
    """Of a persona what the voice needs: how she is called, what she speaks, and how."""

    face: Face
    voice: PersonaVoice


Cast = Callable[[str], Character]
"""The character of a persona's name."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a voice is started from. `persona` names the topics, `folder` is where files go; `engines`, where they are
    not those of the settings.
    """

    settings: VoiceSettings
    bus: BusSettings
    persona: str
    cast: Cast
    folder: Path
    engines: Mapping[str, SpeechEngine] | None = None


async def run(part: Part, *, is_child: bool = False, on_reload: Callable[[], None] = lambda: None) -> None:
    """Speak until SIGTERM or SIGINT, or, as a child, until standard input ends.

    Raises Refused (in an ExceptionGroup) when it never can, as when its port is taken.
    """
    output = _output(part)
    synthesis = Synthesis(part.settings, lambda persona: part.cast(persona).voice, part.engines)
    ears = Ears(part.bus, part.persona, lambda _, detail: notify.status(detail))
    voice = Voice(part.settings, synthesis, output, ears.publish)
    ears.attach(voice)
    try:
        with signals.heeded() as told:
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(voice.run(), name="voice"),
                    group.create_task(ears.run(), name="voice-bus"),
                    group.create_task(_announce(part, output, synthesis), name="voice-announce"),
                    group.create_task(_heed(told.reload, on_reload), name="voice-reload"),
                ]
                if is_child:
                    running.append(group.create_task(_until_orphaned(told.stop), name="voice-parent"))
                await told.stop.wait()
                signal.alarm(END_S)  # an engine that hangs must not keep a voice alive that nobody owns any more
                notify.stopping()
                voice.silence()
                await ears.drain(DRAIN_S)
                for task in running:
                    task.cancel()
    finally:
        await synthesis.close()


def _output(part: Part) -> Output:
    settings = part.settings
    match settings.output:
        case "files":
            return Files(part.folder, settings.keep_files)
        case "device":
            return Device(open_device(settings.device))
        case "overlay":
            return Overlay(settings, find_avatar(settings.avatar), part.persona, lambda name: part.cast(name).face)


async def _announce(part: Part, output: Output, synthesis: Synthesis) -> None:
    """Load the engine, and say that she can be heard."""
    where: str = part.settings.output
    if isinstance(output, Overlay):
        host = f"[{part.settings.host}]" if ":" in part.settings.host else part.settings.host
        where = f"http://{host}:{await output.listening()}/overlay"
    notify.ready()
    await synthesis.warm_up(part.cast(part.persona).face.lang, part.persona)
    log.info("voice_started", persona=part.persona, output=where)


async def _heed(hang_up: asyncio.Event, on_reload: Callable[[], None]) -> None:
    while True:
        await hang_up.wait()
        hang_up.clear()
        on_reload()


async def _until_orphaned(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends: the daemon holds its other end for as long as it lives."""
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with contextlib.closing(transport):
        while await reader.read(1024):
            pass
    stop.set()
