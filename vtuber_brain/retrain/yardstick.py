"""What a candidate is measured against: what speaks today, unless that is no measure any more."""

from pathlib import Path

from vtuber_brain.engine.loras import read_lora
from vtuber_brain.errors import LoraRejected
from vtuber_brain.releases.manifest import Fingerprint
from vtuber_brain.releases.store import Release
from vtuber_brain.retrain.matching import shapes_of
from vtuber_brain.retrain.outputs import MAX_RANK
from vtuber_brain.retrain.task import Task
from vtuber_brain.transcripts.withdrawals import withdrawn_since


def lora_of(task: Task, parent: str | None) -> Path | None:
    """The lora that speaks today: of the release `parent`, else the one beside her file."""
    return task.store.find(task.persona.name, parent).path if parent is not None else task.persona.lora


def why_aside(task: Task, parent: str | None, base: Fingerprint) -> str:
    """Why a candidate is measured against the base with her prompt instead; "" where what speaks today will do.

    A lora for another base cannot be; and one that knows somebody who was forgotten may well be better than any that
    does not, and yet has to make way.
    """
    lora = lora_of(task, parent)
    if lora is None:
        return ""
    try:
        read_lora(lora, shapes_of(task.base), MAX_RANK, base.base)
    except LoraRejected as error:
        return f"what speaks today does not fit the base: {error}"
    if parent is not None and _has_lost_a_viewer(task, task.store.find(task.persona.name, parent)):
        return f"{parent} has learnt from somebody who was forgotten, or has opted out, since"
    return ""


def _has_lost_a_viewer(task: Task, release: Release) -> bool:
    manifest, path = release.manifest or {}, task.transcripts
    window, made_at = manifest.get("window"), manifest.get("created_at")
    if path is None or not path.is_file() or not isinstance(window, dict) or not isinstance(made_at, int | float):
        return False
    return withdrawn_since(path, window.get("streams") or (), made_at)
