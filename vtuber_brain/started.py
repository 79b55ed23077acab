"""What the operator is told once she can talk: plain facts for the terminal."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtuber_brain.panel.addresses import Doors


@dataclass(frozen=True, slots=True)
class Started:
    """What the operator is told once she can talk."""

    persona: str
    chat_url: str | None
    bus: str
    topics: str
    release: str | None
    model_path: str
    model: dict[str, Any]
    classifier: str
    transcripts: Path | None
    plugins: list[str]
    doors: Doors | None
