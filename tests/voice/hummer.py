"""The voice's process with an engine that costs nothing: `python -m tests.voice.hummer BUS_PORT PORT`."""

import asyncio
import sys
from pathlib import Path

from tests.support.brokers import bus_settings
from tests.support.voices import Hum
from vtuber_brain.runtime import logs
from vtuber_brain.voice.service import Character, Part, run
from vtuber_brain.voice.wire import Face
from vtuber_brain.voice_sections import PersonaVoice, VoiceSettings

CHARS_PER_S = 15.0


def main() -> None:
    """Speak until SIGTERM."""
    bus_port, port = map(int, sys.argv[1:])
    logs.setup("info", "json")
    settings = VoiceSettings(port=port, engines={"en": "hum"}, fallback="")
    mori = Character(Face("mori", "Mori", "en"), PersonaVoice())
    hum = {"hum": Hum(lambda text: len(text) / CHARS_PER_S)}
    asyncio.run(run(Part(settings, bus_settings(bus_port), "mori", lambda _: mori, Path(), hum)))


if __name__ == "__main__":
    main()
