"""What a night is asked to do, gathered before its first step: the persona, the base, the settings, the places."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.context.personas import Persona
from vtuber_brain.engine.wire import Configure
from vtuber_brain.night_sections import RetrainSettings
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.retrain.asking import Judges
from vtuber_brain.retrain.progress import OnProgress
from vtuber_brain.sections import MemorySettings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Force:
    """A person who wants it released whatever the gate says, by name, and why."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """One night. `configure` is how the base is served, `base` the folder it is in, `base_name` what people call it.

    `transcripts` None: none are kept. `judges` makes the daemon's own judge of her sentences, when it is needed.
    `imported` is what a trainer elsewhere has left, to be judged in the place of a lora that is trained now.
    """

    persona: Persona
    base: Path
    base_name: str
    configure: Configure
    settings: RetrainSettings
    memory: MemorySettings
    state: Path
    store: ReleaseStore
    transcripts: Path | None
    corpora: tuple[str, ...]
    judges: Callable[[], Judges]
    force: Force | None = None
    imported: Path | None = None
    format: str | None = None
    skip_bad: bool = False
    while_live: bool = False
    say: Say = lambda _text: None
    on_progress: OnProgress = lambda _told: None
