"""The state in one file, saved while she runs, and brought back: transcripts, releases, tokens, plugins' own.

An archive is a plain tar: files under `state/`, the transcripts as `transcripts.db`, and last `manifest.json` with the
SHA-256 of each. What is not in it: recordings (unless wanted), the working files of nights, locks and drafts.
Nothing of an archive is believed before it was checked, and nothing is put in place before all of it was.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.releases.ledger import locked
from vtuber_brain.runtime.files import sync_file, sync_folder
from vtuber_brain.runtime.lease import LIVE, held

MANIFEST, TRANSCRIPTS, STATE = "manifest.json", "transcripts.db", "state"
FORMAT = 1
MAX_MANIFEST_BYTES = 64 * 2**20
_SQLITE = b"SQLite format 3\0"
_LEFT_OUT = frozenset({"retrain", "rehearsal"})
"""Folders of the state that are made anew by those who need them."""

_BESIDE_A_DATABASE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Belongings:
    """What is saved: the folder of state, the transcripts' file wherever it is, the recording if there is one."""

    state: Path
    transcripts: Path
    recording: Path | None = None


@dataclass(slots=True)
class _Archive:
    tar: tarfile.TarFile
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, name: str, path: Path) -> None:
        """As much of the file as there is now; one that has just gone is left out."""
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = os.fstat(file.fileno()).st_size, 0o600, int(path.stat().st_mtime)
            reader = _Hashing(file)
            self.tar.addfile(entry, reader)  # type: ignore[arg-type]
            self.files[name] = {"sha256": reader.digest.hexdigest(), "size": entry.size}


class _Hashing:
    """Reads a file and hashes what was read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def save(what: Belongings, target: Path, *, recordings: bool) -> dict[str, dict[str, Any]]:
    """Write the archive, whole or not at all, for its owner alone; returns what is in it. Raises OSError, Unavailable.

    Every row that was acknowledged before is in it, and a release that is current is there whole.
    """
    draft = target.with_name(f".{target.name}.new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with (
            os.fdopen(descriptor, "wb") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            archive = _Archive(tar)
            _save_all(what, archive, recordings=recordings, skip={draft.absolute(), target.absolute()})
            told = {"format": FORMAT, "created_at": time.time(), "files": archive.files}
            content = json.dumps(told, indent=1).encode()
            entry = tarfile.TarInfo(MANIFEST)
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
        sync_file(draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(target.absolute().parent)
    return archive.files


def _save_all(what: Belongings, archive: _Archive, *, recordings: bool, skip: set[Path]) -> None:
    skip = skip | {what.transcripts.absolute()}
    if what.recording is not None and not recordings:
        skip.add(what.recording.absolute())
    with tempfile.TemporaryDirectory(prefix="vtuber-brain-backup-") as folder:
        copy = Path(folder) / "copy.db"
        for path in _inside(what.state):
            if path.absolute() not in skip:
                with _unchanging(what.state, path):
                    source = path if not _is_database(path) else _copied(path, copy)
                    archive.add(f"{STATE}/{path.relative_to(what.state).as_posix()}", source)
        if (
            what.recording is not None
            and recordings
            and not what.recording.absolute().is_relative_to(what.state.absolute())
        ):
            archive.add("recording.jsonl", what.recording)
        if what.transcripts.exists():
            archive.add(TRANSCRIPTS, _copied(what.transcripts, copy))


def _inside(state: Path) -> Iterator[Path]:
    """The files that belong to the state, a persona's pointer and ledger before her releases."""
    if not state.is_dir():
        return
    for path in sorted(state.iterdir()):
        if path.is_dir() and not path.is_symlink() and path.name not in _LEFT_OUT and not path.name.startswith("."):
            yield from _below(path)
        elif _is_ours(path):
            yield path


def _below(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
            if path.is_dir() and not path.is_symlink() and not path.name.startswith(".") and path.name != "__pycache__":
                yield from _below(path)
            elif _is_ours(path):
                yield path


def _is_ours(path: Path) -> bool:
    plain = path.is_file() and not path.is_symlink()
    return plain and not (
        path.name.startswith(".") or path.suffix in {".lease", ".lock"} or path.name.endswith(_BESIDE_A_DATABASE)
    )


@contextlib.contextmanager
def _unchanging(state: Path, path: Path) -> Iterator[None]:
    """Releases of a persona do not come and go while one is copied."""
    parts = path.relative_to(state).parts
    with contextlib.ExitStack() as lock:
        if parts[0] == "personas" and len(parts) > 2:
            lock.enter_context(locked(state / "personas" / parts[1]))
        yield


def _is_database(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE
    return False


def _copied(path: Path, copy: Path) -> Path:
    """A consistent copy of a database in use, its log written into it. Raises Unavailable."""
    copy.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(path, timeout=10)) as source,
            contextlib.closing(sqlite3.connect(copy)) as to,
        ):
            source.backup(to)
            to.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.Error as error:
        raise Unavailable(f"{path} cannot be copied: {error}") from None
    return copy


def bring_back(source: Path, where: Belongings, *, force: bool) -> int:
    """Put what an archive holds in its place; the number of files.

    What was there before is moved into `before-restore-TIME` of the folder of state, and only with `force`. Raises
    Refused for an archive that is not whole or not ours and for a state that is not empty, Taken beside a running
    daemon; then nothing has changed.
    """
    where.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    where.transcripts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held(where.transcripts.with_name(LIVE), "a restore"):
        there = [path for path in where.state.iterdir() if path.suffix not in {".lease", ".lock"}]
        there += [where.transcripts] if where.transcripts.exists() and where.transcripts not in there else []
        if there and not force:
            raise Refused(f"{where.state} is not empty: {there[0].name} is there; with --force it is moved aside")
        draft = Path(tempfile.mkdtemp(prefix=".restoring-", dir=where.state))
        try:
            num_files = _unpack(source, draft)
            _put_aside(where, there)
            _put_in_place(draft, where)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        sync_folder(where.state)
        return num_files


def _unpack(source: Path, draft: Path) -> int:
    """Everything in the archive, checked against its manifest, below `draft`."""
    try:
        with tarfile.open(source, mode="r:") as tar:
            members = tar.getmembers()
            files = _manifest(tar, members)
            for member in members[:-1]:
                _check_member(member, files)
                target = draft / member.name
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _unpack_one(tar, member, target, files[member.name]["sha256"])
    except (tarfile.TarError, EOFError) as error:
        raise Refused(f"{source}: not an archive of vtuber-brain, or not whole: {error}") from None
    if len(members) - 1 != len(files):
        raise Refused(f"{source}: {len(files)} files are in its manifest, {len(members) - 1} in the archive")
    return len(files)


def _manifest(tar: tarfile.TarFile, members: list[tarfile.TarInfo]) -> dict[str, Any]:
    last = members[-1] if members else None
    if last is None or last.name != MANIFEST or not last.isreg() or last.size > MAX_MANIFEST_BYTES:
        raise Refused(f"{tar.name!s}: does not end with {MANIFEST}: not an archive of vtuber-brain, or not whole")
    file = tar.extractfile(last)
    assert file is not None
    try:
        told = json.loads(file.read())
        files = told["files"]
        known = told["format"] == FORMAT and all(isinstance(one["sha256"], str) for one in files.values())
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise Refused(f"{tar.name!s}: its {MANIFEST} cannot be read, or is of another version")
    found: dict[str, Any] = files
    return found


def _check_member(member: tarfile.TarInfo, files: dict[str, Any]) -> None:
    path = PurePosixPath(member.name)
    outside = path.is_absolute() or ".." in path.parts or path.as_posix() != member.name
    ours = member.name in {TRANSCRIPTS, "recording.jsonl"} or (path.parts[0] == STATE and len(path.parts) > 1)
    if outside or not ours or not member.isreg() or member.issparse() or member.name not in files:
        raise Refused(f"{member.name!r} in the archive is not a plain file of the state that its manifest names")


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, sha256: str) -> None:
    digest, file = hashlib.sha256(), tar.extractfile(member)
    assert file is not None
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Refused(f"{member.name!r} is in the archive twice") from None
    with os.fdopen(descriptor, "wb") as copy:
        while data := file.read(2**20):
            digest.update(data)
            copy.write(data)
        copy.flush()
        os.fsync(copy.fileno())
    if digest.hexdigest() != sha256:
        raise Refused(f"{member.name!r} is not what the archive's manifest says: it was damaged or changed")
    os.utime(target, (member.mtime, member.mtime))


def _put_aside(where: Belongings, there: list[Path]) -> None:
    if not there:
        return
    aside = where.state / f"before-restore-{time.strftime('%Y%m%d-%H%M%S')}"
    aside.mkdir(mode=0o700)
    beside = [where.transcripts.with_name(where.transcripts.name + end) for end in _BESIDE_A_DATABASE]
    for path in dict.fromkeys([*there, *beside]):
        if path.exists() and not path.name.startswith("before-restore-"):
            shutil.move(path, aside / path.name)


def _put_in_place(draft: Path, where: Belongings) -> None:
    inside = draft / STATE
    for path in sorted(inside.iterdir()) if inside.is_dir() else []:
        path.rename(where.state / path.name)
    for name, target in ((TRANSCRIPTS, where.transcripts), ("recording.jsonl", where.recording)):
        if (draft / name).exists() and target is not None:
            shutil.move(draft / name, target)
            target.chmod(0o600)
