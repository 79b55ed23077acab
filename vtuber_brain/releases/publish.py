"""New releases in, old ones out. Whatever happens on the way, what has a release's name is whole, and so is `current`.

A release is made in a folder whose name begins with a dot, and removed by getting such a name first; what a crash
leaves of either is swept away by the next change.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vtuber_brain.errors import Refused
from vtuber_brain.night_sections import ReleaseSettings
from vtuber_brain.releases.ledger import locked, read_ledger
from vtuber_brain.releases.manifest import Fingerprint, Manifest, parsed
from vtuber_brain.releases.store import Release, ReleaseStore
from vtuber_brain.runtime.files import sync_file, sync_folder, write_whole

MANIFEST = "manifest.json"
_MAKING, _GONE = ".making-", ".gone-"


@dataclass(frozen=True, slots=True)
class Standing:
    """One release among the others; `created_at` is Unix time (s), of the manifest or else of the folder."""

    release: Release
    created_at: float
    num_bytes: int
    is_current: bool
    is_previous: bool
    is_pinned: bool
    rolled_back: str | None


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files of a release but its manifest."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        with path.open("rb") as file:
            inner = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{inner}\n".encode())
    return digest.hexdigest()


def name_of(manifest: Manifest) -> str:
    """`2026-11-20-1a2b3c4d`: the day of its night (UTC) and the beginning of its content's hash."""
    day = datetime.fromtimestamp(manifest.created_at, UTC).date().isoformat()
    return f"{day}-{(manifest.content.sha256 or '')[:8]}"


def publish(
    store: ReleaseStore, weights: Path, manifest: Manifest, served: Fingerprint, *, promote: bool = True
) -> Release:
    """Make a release of the PEFT directory `weights`, with `promote` the current one. Done again it changes nothing.

    Raises Refused for one made for another base, tokenizer or template than `served`, whose files are not those of the
    manifest, or whose very content was rolled back before; and OSError.
    """
    served.check(manifest)
    if content_hash(weights) != manifest.content.sha256:
        raise Refused(f"{weights}: its files are not those that the manifest tells of")
    folder, name = store.folder(manifest.persona), name_of(manifest)
    final = folder / "releases" / name
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if (found := read_ledger(folder).taken_back(name, manifest.content.sha256)) is not None:
            known, mark = found
            raise Refused(f"the same weights were rolled back as {known} by {mark.by}, and are never current again")
        (folder / "releases").mkdir(exist_ok=True)
        _sweep(folder / "releases")
        if not final.exists():
            _make(final, weights, manifest)
    release = Release(manifest.persona, name, final)
    verify(release)
    if promote:
        store.make_current(release)
    return release


def verify(release: Release) -> Manifest:
    """The manifest of a release whose files are all there as they were published. Raises Refused or OSError."""
    manifest = parsed((release.path / MANIFEST).read_bytes())
    if content_hash(release.path) != manifest.content.sha256:
        raise Refused(f"{release.path}: its files are not those that were published")
    return manifest


def standings(store: ReleaseStore, persona: str) -> list[Standing]:
    """Every release of a persona, oldest first. Raises ConfigError for a damaged ledger."""
    ledger, previous, pointed = store.ledger(persona), store.previous(persona), store.pointed(persona)
    found = []
    for release in store.releases(persona):
        mark = ledger.rolled_back.get(release.name)
        found.append(
            Standing(
                release=release,
                created_at=_created_at(release),
                num_bytes=sum(path.stat().st_size for path in release.path.rglob("*") if path.is_file()),
                is_current=release.name == pointed,
                is_previous=previous is not None and release.name == previous.name,
                is_pinned=release.name in ledger.pinned,
                rolled_back=f"by {mark.by}" + (f": {mark.reason}" if mark.reason else "") if mark is not None else None,
            )
        )
    return sorted(found, key=lambda one: (one.created_at, one.release.name))


def prune(store: ReleaseStore, persona: str, settings: ReleaseSettings) -> list[str]:
    """Remove the oldest beyond the quota; never the current one, the one before it, or what is pinned. Their names.

    Raises ConfigError for a damaged pointer or ledger, and OSError.
    """
    folder = store.folder(persona) / "releases"
    if not folder.is_dir():
        return []
    store.current(persona)
    with locked(store.folder(persona)):
        _sweep(folder)
        there = standings(store, persona)
        count, num_bytes = len(there), sum(one.num_bytes for one in there)
        gone = []
        for one in there:
            if count <= settings.max_releases and num_bytes <= settings.max_mb * 1e6:
                break
            if not (one.is_current or one.is_previous or one.is_pinned):
                _remove(one.release.path)
                gone.append(one.release.name)
                count, num_bytes = count - 1, num_bytes - one.num_bytes
        return gone


def _make(final: Path, weights: Path, manifest: Manifest) -> None:
    draft = final.with_name(f"{_MAKING}{final.name}")
    for source in sorted(_files(weights)):
        target = draft / source.relative_to(weights)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        sync_file(target)
    write_whole(draft / MANIFEST, manifest.to_bytes())
    for inner in [path for path in draft.rglob("*") if path.is_dir()]:
        sync_folder(inner)
    draft.rename(final)
    sync_folder(final.parent)


def _remove(folder: Path) -> None:
    gone = folder.with_name(f"{_GONE}{folder.name}")
    folder.rename(gone)
    sync_folder(folder.parent)
    shutil.rmtree(gone)


def _sweep(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((_MAKING, _GONE)):
            shutil.rmtree(path)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() != MANIFEST)


def _created_at(release: Release) -> float:
    told = (release.manifest or {}).get("created_at")
    return float(told) if isinstance(told, int | float) else release.path.stat().st_mtime
