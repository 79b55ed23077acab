"""A sentence becomes sound: which engine, in whose voice, what of the text, and who stands in when an engine fails."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.voice.engines import COMMANDS, Hibari, Program, SpeechEngine
from vtuber_brain.voice.mouth import mouth
from vtuber_brain.voice.sound import Clip, Samples, clip, resampled
from vtuber_brain.voice.words import spoken
from vtuber_brain.voice_sections import PersonaVoice, VoiceSettings

log = structlog.get_logger(__name__)

RETRY_S = 15.0
"""How long an engine that is down is passed over where another one can be asked."""

MAX_CHARS = 1000
"""Longer texts are not spoken: no sentence of hers is."""

_LANG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Made:
    """A sentence as sound, who made it, and how long that took."""

    clip: Clip
    engine: str
    took_s: float


class Synthesis:
    """The engines of the settings. `manner(persona)` is the persona's own voice. `close` it in the end."""

    def __init__(
        self,
        settings: VoiceSettings,
        manner: Callable[[str], PersonaVoice],
        engines: Mapping[str, SpeechEngine] | None = None,
    ) -> None:
        self._settings, self._manner = settings, manner
        self._engines = engines if engines is not None else build(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="voice")
        self._down: dict[str, tuple[float, str]] = {}

    @property
    def down(self) -> dict[str, str]:
        """The engines that failed when they were asked last, with the reason of each."""
        return {name: why for name, (_, why) in self._down.items()}

    async def make(self, text: str, lang: str, persona: str) -> Made:
        """The sound. Raises RequestFailed (nothing_to_say, bad_text), or EngineDown when no engine could."""
        if not _LANG.fullmatch(lang) or len(text) > MAX_CHARS:
            raise RequestFailed("bad_text", "no language tag, or too long")
        words = spoken(text, lang)
        if not words:
            raise RequestFailed("nothing_to_say", "nothing in it can be spoken")
        manner, why = self._manner(persona), "no engine is set for this language"
        for name, voice in self._chosen(lang, manner):
            started_s = time.monotonic()
            try:
                async with asyncio.timeout(self._settings.timeout_s + 1):
                    sound = await self._engines[name].speak(words, lang, voice, manner.speed / manner.pitch)
            except RequestFailed as error:
                why = str(error)
            except (EngineDown, TimeoutError) as error:
                why = str(error) or f"{name}: no sound within {self._settings.timeout_s:g} s"
                self._note(name, why)
            else:
                self._note(name, "")
                loop = asyncio.get_running_loop()
                finished = await loop.run_in_executor(self._thread, _finished, sound, manner.pitch)
                return Made(finished, name, time.monotonic() - started_s)
        raise EngineDown(why)

    async def warm_up(self, lang: str, persona: str) -> None:
        """Load what the first sentence would else wait for; what fails is only noted."""
        try:
            await self.make("Hello.", lang, persona)
        except (EngineDown, RequestFailed) as error:
            log.warning("voice_not_warm", reason=str(error))

    async def close(self) -> None:
        """Leave no process and no thread behind."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for engine in self._engines.values():
            await engine.close()

    def _chosen(self, lang: str, manner: PersonaVoice) -> Iterator[tuple[str, str | None]]:
        """Engines in the order in which they are asked, each with its voice; those that are down last."""
        names = list(engine_names(self._settings, lang, manner, self._speaks))
        own = (manner.engine or names[0]) if names else None
        rested_s = time.monotonic() - RETRY_S
        for name in sorted(names, key=lambda name: name in self._down and self._down[name][0] > rested_s):
            yield name, manner.voice if name == own else None

    def _speaks(self, name: str, lang: str) -> bool:
        return name in self._engines and self._engines[name].speaks(lang)

    def _note(self, name: str, why: str) -> None:
        known = name in self._down
        if why:
            self._down[name] = time.monotonic(), why
        else:
            self._down.pop(name, None)
        if known != bool(why):
            (log.warning if why else log.info)("engine_down" if why else "engine_up", engine=name, reason=why)


def _finished(sound: Samples, pitch: float) -> Clip:
    """In a thread: for a long sentence it takes longer than the loop should stand still."""
    pitched = resampled(sound, 1 / pitch)
    return clip(pitched, mouth(pitched))


def engine_names(
    settings: VoiceSettings, lang: str, manner: PersonaVoice, speaks: Callable[[str, str], bool]
) -> Iterator[str]:
    """The engines for a language, each once: the persona's own, that of the language, the one that stands in."""
    by_language = settings.engines.get(lang) or settings.engines.get(lang.split("-")[0].lower())
    wanted = [manner.engine, by_language, settings.fallback or None]
    yield from dict.fromkeys(name for name in wanted if name is not None and speaks(name, lang))


def programs(settings: VoiceSettings) -> dict[str, list[str]]:
    """Every engine that is a program, with its command line; the settings' own win over ours."""
    return {**COMMANDS, **settings.commands}


def build(settings: VoiceSettings) -> dict[str, SpeechEngine]:
    """Every engine of the settings; none of them loads anything before it is asked."""
    found: dict[str, SpeechEngine] = {"hibari": Hibari()}
    for name, argv in programs(settings).items():
        found[name] = Program(name, argv, settings.timeout_s, spare=name != "espeak")
    return found
