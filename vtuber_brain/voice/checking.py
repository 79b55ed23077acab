"""What stands in the voice's way on this machine, without speaking: engines, avatar, sound device."""

import importlib.util
from collections.abc import Iterator

from vtuber_brain.errors import Refused
from vtuber_brain.voice.avatars import find_avatar
from vtuber_brain.voice.engines import HIBARI_LANGUAGES, check_engine
from vtuber_brain.voice.synthesis import engine_names, programs
from vtuber_brain.voice_sections import PersonaVoice, VoiceSettings


def problems(settings: VoiceSettings, manner: PersonaVoice, lang: str) -> Iterator[str]:
    """Everything that would keep her silent, each with what to do about it.

    An engine that is missing is one only when no other could speak in its place.
    """
    names = list(engine_names(settings, lang, manner, _speaks))
    lacking = [check_engine(name, programs(settings).get(name, []), manner.voice) for name in names]
    if not names:
        yield f"no engine for {lang}: name one in voice.engines"
    elif all(lacking):
        yield from (why for why in lacking if why is not None)
    if settings.output == "overlay":
        try:
            find_avatar(settings.avatar)
        except Refused as error:
            yield str(error)
    if settings.output == "device" and importlib.util.find_spec("sounddevice") is None:
        yield "sounddevice is not installed: pip install 'vtuber-brain[voice]'"


def _speaks(name: str, lang: str) -> bool:
    return name != "hibari" or lang.split("-")[0].lower() in HIBARI_LANGUAGES
