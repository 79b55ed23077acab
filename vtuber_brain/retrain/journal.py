"""What a night has done so far, line by line, so that one that was killed goes on and ends in the same bytes.

`ROOT/NIGHT/journal.jsonl` gets a line for every step that is done, with the hash of what went into it and the names of
its results, which are files and folders beside it named after their content. A step whose inputs are those of its line
is not done again. One process at a time; the night's lock sees to that.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.nights import JOURNAL, clear
from vtuber_brain.runtime.files import sync_file, sync_folder, write_whole

STEPS = ("planned", "curated", "built", "trained", "evaluated", "gated", "ended")
"""The steps of a night in their order; `ended` says with its figure `outcome` whether it was released or rejected."""

WORK = "work"
_NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}(?:\.(\d+))?")


class Entry(BaseModel):
    """A line: a step that is done, or (`restart`) one from which on all is done again. `at` is Unix time (s)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    step: str
    at: float
    inputs: str = ""
    results: dict[str, str] = {}
    figures: dict[str, Any] = {}
    restart: bool = False


@dataclass(slots=True)
class Results:
    """What a step has made: bytes, or paths in its workspace that are moved out of it; and figures for people."""

    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """One night's folder. Reading it forgives a last line that was torn by a kill, and nothing else."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        folder.mkdir(parents=True, exist_ok=True)
        self._done: dict[str, Entry] = {}
        for entry in _read(folder / JOURNAL):
            self._take(entry)

    @property
    def name(self) -> str:
        """The night's name."""
        return self.folder.name

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return STEPS[-1] in self._done

    def entry(self, step: str) -> Entry | None:
        """The line of a step that is done; None: it is still to be done."""
        return self._done.get(step)

    def do(self, step: str, inputs: Mapping[str, object], work: Callable[[Path], Results]) -> Entry:
        """The step's entry: as it stands if it was done with these inputs and its results are whole, else done now.

        `work` gets a folder of its own that outlives a kill, for checkpoints; it is removed when the step is done.
        """
        assert step in STEPS, step
        hashed = hash_of(inputs)
        known = self._done.get(step)
        if known is not None and known.inputs == hashed and self._is_whole(known):
            return known
        workspace = self.folder / WORK / f"{step}-{hashed[:16]}"
        workspace.mkdir(parents=True, exist_ok=True)
        made = work(workspace)
        results = {name: self._keep(name, content) for name, content in made.files.items()}
        entry = Entry(step=step, at=self._clock(), inputs=hashed, results=results, figures=dict(made.figures))
        self._append(entry)
        self._take(entry)
        shutil.rmtree(self.folder / WORK, ignore_errors=True)
        return entry

    def path(self, step: str, name: str) -> Path:
        """Where a result of a step that is done is. Raises KeyError when there is none."""
        return self.folder / self._done[step].results[name]

    def restart(self, step: str) -> None:
        """Do this step and all after it again; the results of earlier ones are kept.

        Raises ConfigError for a step there is none of, or one that nothing has come before yet.
        """
        if step not in STEPS:
            raise ConfigError([Problem("--from-step", f"{step!r} is no step", f"Give one of: {', '.join(STEPS)}")])
        missing = [one for one in STEPS[: STEPS.index(step)] if one not in self._done]
        if missing:
            what = f"the night {self.name} has not {missing[0]} yet, so {step} has nothing to begin with"
            raise ConfigError([Problem("--from-step", what, f"Give {missing[0]} or an earlier one")])
        entry = Entry(step=step, at=self._clock(), restart=True)
        self._append(entry)
        self._take(entry)

    def clear(self, keep: Collection[str] = ()) -> None:
        """Remove every result but those of these names, and all workspaces; the lines stay."""
        kept = {entry.results[name] for entry in self._done.values() for name in keep if name in entry.results}
        clear(self.folder, frozenset(kept))

    def _take(self, entry: Entry) -> None:
        if entry.step not in STEPS:
            return
        if entry.restart:
            for step in STEPS[STEPS.index(entry.step) :]:
                self._done.pop(step, None)
        else:
            self._done[entry.step] = entry

    def _keep(self, name: str, content: bytes | Path) -> str:
        """Have the content here under the name of its hash; what is there already is the same."""
        stem, dot, ending = name.partition(".")
        called = (
            f"{stem}-{(_hash_bytes(content) if isinstance(content, bytes) else hash_path(content))[:16]}{dot}{ending}"
        )
        target = self.folder / called
        if isinstance(content, bytes):
            write_whole(target, content)
        elif content.is_dir():
            for path in (content, *content.rglob("*")):
                sync_folder(path) if path.is_dir() else sync_file(path)
            shutil.rmtree(target, ignore_errors=True)
            content.rename(target)
        else:
            sync_file(content)
            content.replace(target)
        sync_folder(self.folder)
        return called

    def _is_whole(self, entry: Entry) -> bool:
        for name, called in entry.results.items():
            path = self.folder / called
            stem, dot, ending = name.partition(".")
            if not path.exists() or called != f"{stem}-{hash_path(path)[:16]}{dot}{ending}":
                return False
        return True

    def _append(self, entry: Entry) -> None:
        """The line is on disk when this returns; half a line that a kill left makes way for it."""
        path = self.folder / JOURNAL
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            whole = _whole_lines(path.read_bytes())
            os.ftruncate(descriptor, len(whole))
            os.pwrite(descriptor, entry.model_dump_json().encode() + b"\n", len(whole))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(self.folder)


def open_night(root: Path, now: float, *, again: bool = False) -> Journal:
    """The night under `root` that is not over, else a new one of the day of `now` (Unix time, s; UTC).

    `again`: the last one even if it is over. Raises ConfigError for a damaged journal, or when there is none to resume.
    """
    there = nights(root)
    if there:
        last = Journal(there[-1])
        if again or not last.is_over:
            return last
        shutil.rmtree(last.folder / WORK, ignore_errors=True)  # which a kill right after its last line leaves
    if again:
        raise ConfigError([Problem("--from-step", "there was no night yet", "Run it without --from-step")])
    day = datetime.fromtimestamp(now, UTC).date().isoformat()
    taken = {path.name for path in there}
    name = next(name for name in _names(day) if name not in taken)
    return Journal(root / name)


def nights(root: Path) -> list[Path]:
    """The folders of all nights, oldest first."""
    if not root.is_dir():
        return []
    named = [(found, path) for path in root.iterdir() if (found := _NIGHT.fullmatch(path.name)) is not None]
    return [path for found, path in sorted(named, key=lambda one: (one[1].name[:10], int(one[0][1] or 1)))]


def last_ended(root: Path) -> Journal | None:
    """The last night that was released or rejected."""
    for folder in reversed(nights(root)):
        journal = Journal(folder)
        if journal.is_over:
            return journal
    return None


def hash_of(inputs: Mapping[str, object]) -> str:
    """SHA-256 of what JSON can carry, whatever the order of its keys."""
    return _hash_bytes(json.dumps(inputs, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode())


def hash_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of all files in a folder."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(inner for inner in path.rglob("*") if inner.is_file())
    return hash_of({inner.relative_to(path).as_posix(): hash_path(inner) for inner in files})


def _hash_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _names(day: str) -> Iterator[str]:
    yield day
    number = 2
    while True:
        yield f"{day}.{number}"
        number += 1


def _read(path: Path) -> Iterator[Entry]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for number, line in enumerate(_whole_lines(content).splitlines(), 1):
        try:
            yield Entry.model_validate_json(line)
        except ValidationError:
            fix = "Move the night's folder away; the next run begins a new one"
            raise ConfigError([Problem(f"{path}:{number}", "is no line of a journal", fix)]) from None


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
