"""What became of a persona's releases: which were current, which are pinned, which were rolled back.

`ROOT/PERSONA/releases.json`, replaced as a whole. It is written before the pointer is moved, so that a crash between
the two leaves nothing promoted that must not be.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.runtime.files import write_whole

LEDGER = "releases.json"
MAX_PROMOTED = 64


class RolledBack(BaseModel):
    """Who took a release back, when (Unix time, s) and why; `content` is the SHA-256 of what it was made of."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at: float
    by: str
    reason: str = ""
    content: str | None = None


class Approved(BaseModel):
    """Who let a release that was held go live, when (Unix time, s) and why."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at: float
    by: str
    reason: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")

    promoted: list[str] = []
    pinned: list[str] = []
    rolled_back: dict[str, RolledBack] = {}
    approved: dict[str, Approved] = {}


@dataclass(slots=True)
class Ledger:
    """`promoted` names what was made current, the latest last."""

    promoted: list[str] = field(default_factory=list)
    pinned: set[str] = field(default_factory=set)
    rolled_back: dict[str, RolledBack] = field(default_factory=dict)
    approved: dict[str, Approved] = field(default_factory=dict)

    def promote(self, name: str, before: str | None) -> None:
        """Note that `name` is made current after `before`."""
        for one in (before, name):
            if one is not None and self.promoted[-1:] != [one]:
                self.promoted.append(one)
        del self.promoted[:-MAX_PROMOTED]

    def taken_back(self, name: str, content: str | None) -> tuple[str, RolledBack] | None:
        """By which name, by whom and why a release, or another with its very `content`, was; None: it was not."""
        marks = self.rolled_back.items()
        same = (
            (known, mark) for known, mark in marks if known == name or (content is not None and mark.content == content)
        )
        return next(same, None)

    def to_bytes(self) -> bytes:
        """The file's content, the same bytes for the same values."""
        told = {
            "promoted": self.promoted,
            "pinned": sorted(self.pinned),
            "rolled_back": {name: mark.model_dump() for name, mark in sorted(self.rolled_back.items())},
            "approved": {name: mark.model_dump() for name, mark in sorted(self.approved.items())},
        }
        return json.dumps(told, indent=2).encode() + b"\n"


def read_ledger(folder: Path) -> Ledger:
    """The ledger in the persona's `folder`, empty where there is none. Raises ConfigError for one that is damaged."""
    path = folder / LEDGER
    try:
        told = _File.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Ledger()
    except (OSError, ValidationError) as error:
        what = str(error) if isinstance(error, OSError) else "it is no ledger of releases"
        fix = "Mend it, or move it away: then nothing is pinned or rolled back any more"
        raise ConfigError([Problem(str(path), what, fix)]) from None
    return Ledger(told.promoted, set(told.pinned), told.rolled_back, told.approved)


def write_ledger(folder: Path, ledger: Ledger) -> None:
    """Replace the ledger in `folder`. Raises OSError."""
    write_whole(folder / LEDGER, ledger.to_bytes())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else changes the persona's releases within the block; waits until that can be. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
