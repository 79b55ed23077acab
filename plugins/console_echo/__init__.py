"""Prints every sentence to standard output, one a line: the smallest whole plugin, to start others from.

Settings: `prefix` (text before each line, default "") and `cues` (whether the cue stands before it, default true).
"""

import sys
from typing import Any

from vtuber_brain.plugin_api import Event, Registry, Utterance


class ConsoleEcho:
    """The sink."""

    name = "console_echo"

    def __init__(self, prefix: str, cues: bool) -> None:
        self._prefix, self._cues = prefix, cues

    async def emit(self, event: Event) -> None:
        """Print an utterance; nothing else."""
        if isinstance(event, Utterance):
            cue = f"[{event.cue.name}] " if self._cues and event.cue else ""
            # What a model writes must not move a terminal's cursor.
            text = "".join(letter if letter.isprintable() else " " for letter in event.text)
            sys.stdout.write(f"{self._prefix}{cue}{text}\n")
            sys.stdout.flush()


async def setup(registry: Registry, settings: dict[str, Any]) -> None:
    """Add the sink. Raises ValueError or TypeError for settings it cannot use."""
    if unknown := sorted(settings.keys() - {"prefix", "cues"}):
        raise ValueError(f"unknown setting: {', '.join(unknown)}")
    prefix, cues = settings.get("prefix", ""), settings.get("cues", True)
    if not isinstance(prefix, str) or not isinstance(cues, bool):
        raise TypeError("prefix is a text, cues is true or false")
    registry.add_sink(ConsoleEcho(prefix, cues))
