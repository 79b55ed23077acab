"""What turns words into sound: the protocol, the one that runs in a thread here, and those that are programs.

A program reads text on its standard input, one line, and writes a WAV to its standard output; it is never given a
viewer-made word on its command line. Whoever has an engine of their own brings such a program (`voice.commands`).
"""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.voice.sound import RATE, Samples, read_wav

MAX_WAV_BYTES = 64 * 2**20
HIBARI_LANGUAGES = frozenset({"en"})
COMMANDS: dict[str, list[str]] = {
    "espeak": ["espeak-ng", "-v", "{lang}", "-s", "{words_per_minute}", "--stdin", "--stdout"],
    "piper": ["piper", "-m", "{voice}", "--length-scale", "{slowness}", "-f", "-"],
}
"""The programs we know, with the places that `Program` fills in."""

_REGIONS = frozenset({"en-us", "en-gb", "pt-br", "es-419"})
_WORDS_PER_MINUTE = 165
_STDERR_CHARS = 200


class SpeechEngine(Protocol):
    """One way to speak. Used by one task at a time."""

    async def speak(self, text: str, lang: str, voice: str | None, speed: float) -> Samples:
        """The sound of `text`, mono at RATE. Raises RequestFailed for this text, EngineDown when it works no more."""

    async def close(self) -> None:
        """Leave nothing behind."""

    def speaks(self, lang: str) -> bool:
        """Whether it knows the language of a BCP 47 tag."""


class Hibari:
    """hibari-tts, English, in a thread of its own; the first use loads it. Never fetches a voice that is not there."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hibari")
        self._loaded: dict[str, Any] = {}

    def speaks(self, lang: str) -> bool:
        """English only."""
        return lang.split("-")[0].lower() in HIBARI_LANGUAGES

    async def speak(self, text: str, lang: str, voice: str | None, speed: float) -> Samples:  # noqa: ARG002 - one language
        """As `SpeechEngine`; raises EngineDown when the package or the voice is not installed."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._speak, text, voice, speed)

    async def close(self) -> None:
        """Let the sentence in hand end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _speak(self, text: str, voice: str | None, speed: float) -> Samples:
        model = self._model(voice or "heart")
        try:
            return np.asarray(model(text, speed=min(2.0, max(0.5, speed))), np.float32)
        except (ValueError, KeyError, IndexError, RuntimeError) as error:
            raise RequestFailed("not_spoken", f"hibari: {type(error).__name__}") from None

    def _model(self, voice: str) -> Any:
        if voice not in self._loaded:
            self._loaded[voice] = load_hibari(voice)
        return self._loaded[voice]


def load_hibari(voice: str) -> Any:
    """The package's model. Raises EngineDown that says what to install."""
    try:
        import hibari
        from hibari.voices import voice_path
    except ImportError:
        raise EngineDown("hibari-tts is not installed: pip install 'vtuber-brain[voice]'") from None
    try:
        model = hibari.Hibari(voice, model=voice_path(voice, download_missing=False), threads=1)
    except (ValueError, FileNotFoundError):
        raise EngineDown(f"hibari has no voice {voice!r} here; `hibari --list-voices` shows how to get it") from None
    assert model.sample_rate == RATE
    return model


class Program:
    """A program as an engine: one process a sentence, text in, WAV out.

    With `spare`, the next process is started before it is needed, so that a program that loads a model first has done
    so. `argv` may hold {lang}, {voice}, {speed} (1: its own pace), {slowness} (one over that), {words_per_minute}.
    """

    def __init__(self, name: str, argv: Sequence[str], timeout_s: float, *, spare: bool = False) -> None:
        self._name, self._argv, self._timeout_s, self._spare = name, tuple(argv), timeout_s, spare
        self._waiting: tuple[tuple[str, ...], asyncio.subprocess.Process] | None = None

    def speaks(self, lang: str) -> bool:  # noqa: ARG002 - it is asked, and says no by failing
        """Whatever it is asked for."""
        return True

    async def speak(self, text: str, lang: str, voice: str | None, speed: float) -> Samples:
        """As `SpeechEngine`."""
        argv = self._filled(lang, voice, speed)
        process = await self._process(argv)
        try:
            async with asyncio.timeout(self._timeout_s):
                out, told = await process.communicate(text.encode() + b"\n")
        except TimeoutError:
            raise EngineDown(f"{self._name}: no sound within {self._timeout_s:g} s") from None
        finally:
            await _end(process)
        if process.returncode:
            last = told.decode(errors="replace").strip()[-_STDERR_CHARS:]
            raise EngineDown(f"{self._name}: exit status {process.returncode}: {last}")
        if len(out) > MAX_WAV_BYTES:
            raise RequestFailed("bad_sound", f"{self._name}: {len(out)} bytes")
        if self._spare:
            with contextlib.suppress(EngineDown):
                self._waiting = argv, await self._start(argv)
        return read_wav(out)

    async def close(self) -> None:
        """End the process that waits, if one does."""
        if self._waiting is not None:
            _, process = self._waiting
            self._waiting = None
            await _end(process)

    async def _process(self, argv: tuple[str, ...]) -> asyncio.subprocess.Process:
        if self._waiting is not None:
            waiting, process = self._waiting
            if waiting == argv and process.returncode is None:
                self._waiting = None
                return process
            await self.close()
        return await self._start(argv)

    async def _start(self, argv: tuple[str, ...]) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        try:
            return await asyncio.create_subprocess_exec(
                *argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as error:
            raise EngineDown(f"{argv[0]}: {error.strerror or error}") from None

    def _filled(self, lang: str, voice: str | None, speed: float) -> tuple[str, ...]:
        values = {
            "{lang}": voice if voice and self._name == "espeak" else _narrowed(lang),
            "{voice}": voice or "",
            "{speed}": f"{speed:.3f}",
            "{slowness}": f"{1 / speed:.3f}",
            "{words_per_minute}": f"{_WORDS_PER_MINUTE * speed:.0f}",
        }
        return tuple(_replaced(word, values) for word in (program_of(self._argv), *self._argv[1:]))


def program_of(argv: Sequence[str]) -> str:
    """Where the program is: beside this interpreter, else on the PATH; its plain name when it is nowhere."""
    beside = Path(sys.executable).parent
    return shutil.which(argv[0], path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}") or argv[0]


def _narrowed(lang: str) -> str:
    """A tag as programs know it: without a region, but for those that sound apart."""
    return lang.lower() if lang.lower() in _REGIONS else lang.split("-")[0].lower()


def _replaced(word: str, values: dict[str, str]) -> str:
    for place, value in values.items():
        word = word.replace(place, value)
    return word


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
    if process.stdin is not None:
        process.stdin.close()
    gone = asyncio.create_task(process.wait(), name="engine-end")
    try:
        await asyncio.shield(gone)
    except asyncio.CancelledError:  # a process that nobody waits for would stay as a zombie
        await gone
        raise


def check_engine(name: str, argv: Sequence[str], voice: str | None) -> str | None:
    """Why an engine cannot work on this machine, with what to do; None when nothing is in its way."""
    if name == "hibari":
        try:
            load_hibari(voice or "heart")
        except EngineDown as error:
            return str(error)
        return None
    if not argv:
        return f"no engine {name!r}: name its program in voice.commands"
    if not Path(program_of(argv)).is_absolute():
        package = {"espeak": "apt-get install espeak-ng", "piper": "pip install piper-tts"}.get(name)
        return f"{argv[0]} is not there" + (f": {package}" if package else f"; correct voice.commands.{name}")
    if name == "piper" and not (voice and Path(voice).exists()):
        return "piper has no voice: give the path of its .onnx as [voice] voice in the persona's file"
    return None
