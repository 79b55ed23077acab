"""The output `device`: a sound device, through PortAudio (the package sounddevice).

PortAudio calls from a thread of its own for each block of samples; that thread only copies, and leaves
word for the loop. When the device goes, it is opened again, with pauses.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from vtuber_brain.bus.topics import CuePayload, Status, UtterancePayload
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.voice.mixer import Mixer, Moment
from vtuber_brain.voice.output import Told
from vtuber_brain.voice.sound import RATE, Clip

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 10.0


class Stream(Protocol):
    """An open device, as sounddevice's OutputStream has it."""

    def close(self) -> None:
        """Call back no more."""


OnBlock = Callable[[Any, int, Any, Any], None]
"""As sounddevice calls: samples to be written, shape (frames, 1) of int16; their number; times; flags."""

OpenStream = Callable[[OnBlock, Callable[[], None]], Stream]
"""Opens the device, which calls back from then on; the second callback says that it has stopped.

Raises Unavailable, or Refused for good.
"""


class Device:
    """One sound device, opened by `open_stream`."""

    def __init__(self, open_stream: OpenStream) -> None:
        self._open, self._mixer = open_stream, Mixer()
        self._is_open = False

    @property
    def is_heard(self) -> bool:
        """Whether the device is open."""
        return self._is_open

    async def run(self, told: Told) -> None:
        """Keep the device open until cancelled. Raises Refused when there is no such thing here."""
        pauses = backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        while True:
            try:
                await self._play(told)
            except Unavailable as error:
                log.warning("device_gone", reason=str(error))
                self._mixer.clear()
                told.lost("device_gone")
            await asyncio.sleep(next(pauses))

    def give(self, sentence: UtterancePayload, sound: Clip) -> None:
        """Play it after what is there."""
        self._mixer.put((sentence.reply_id, sentence.seq), sound.pcm)

    def skip(self, reply_id: str, *, is_retracted: bool = False) -> None:  # noqa: ARG002 - nothing is kept
        """Silence about this reply, from the next block on."""
        self._mixer.drop(reply_id)

    def stop(self) -> None:
        """Silence, from the next block on."""
        self._mixer.drop(None)

    def cue(self, shown: CuePayload) -> None:
        """There is no face."""

    def status(self, how: Status) -> None:
        """Nobody looks."""

    async def _play(self, told: Told) -> None:
        """One life of the device; ends by Unavailable."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()

        def on_block(block: Any, _frames: int, times: Any, _flags: Any) -> None:
            delay_s = max(0.0, times.outputBufferDacTime - times.currentTime)
            moments = self._mixer.fill(block[:, 0])
            if moments:
                loop.call_soon_threadsafe(_tell, told, moments, time.time() + delay_s)

        def on_stop() -> None:
            loop.call_soon_threadsafe(stopped.set)

        stream = await asyncio.to_thread(self._open, on_block, on_stop)
        try:
            self._is_open = True
            log.info("device_open")
            await stopped.wait()
            raise Unavailable("the sound device has stopped")
        finally:
            self._is_open = False
            await asyncio.to_thread(stream.close)


def open_device(name: str) -> OpenStream:
    """Opens the sound device of that name or number; empty: the system's own."""

    def opening(on_block: OnBlock, on_stop: Callable[[], None]) -> Stream:
        try:
            import sounddevice
        except ImportError:
            raise Refused("sounddevice is not installed: pip install 'vtuber-brain[voice]'") from None
        except OSError as error:
            raise Refused(f"{error}: apt-get install libportaudio2") from None
        device = int(name) if name.isdigit() else name or None
        try:
            stream = sounddevice.OutputStream(
                samplerate=RATE,
                device=device,
                channels=1,
                dtype="int16",
                latency="low",
                callback=on_block,
                finished_callback=on_stop,
            )
            stream.start()
        except ValueError as error:  # an unknown name
            raise Refused(f"voice.device: {error}") from None
        except sounddevice.PortAudioError as error:
            raise Unavailable(f"voice.device {name or 'of the system'}: {error}") from None
        opened: Stream = stream
        return opened

    return opening


def _tell(told: Told, moments: list[Moment], block_at: float) -> None:
    for moment in moments:
        told.played(moment.key, moment.state, block_at + moment.offset / RATE)
