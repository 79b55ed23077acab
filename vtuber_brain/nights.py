"""Where in the state folder the nights keep what they make, and how it is thrown away; nothing of training itself."""

import shutil
from pathlib import Path

from vtuber_brain.runtime.lease import Holder, holder

NIGHTS = "retrain"
"""The folder of all personas' nights."""

LOCK = "retrain.lock"
"""Held by the night that is at work."""

JOURNAL = "journal.jsonl"
"""In every night's folder: what was done, in figures."""


def purge(state: Path) -> Holder | None:
    """Remove all that the nights have made but their journals: it may hold words that are to be forgotten.

    A night that is at work is named instead, and nothing is removed: it would write on with what it has read.
    """
    if (at_work := holder(state / LOCK)) is not None:
        return at_work
    for journal in sorted((state / NIGHTS).rglob(JOURNAL)):
        clear(journal.parent)
    return None


def clear(folder: Path, keep: frozenset[str] = frozenset()) -> None:
    """Remove all in one night's folder but its journal and what is named."""
    for path in folder.iterdir():
        if path.name != JOURNAL and path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
