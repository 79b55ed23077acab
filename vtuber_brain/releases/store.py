"""Which releases of a persona there are and which is current, as the state folder has it. Never reads any weights.

`ROOT/PERSONA/releases/RELEASE/` is a PEFT directory, with a `manifest.json` if we published it;
`ROOT/PERSONA/current` is one line of JSON that names the release in use; `ledger.py` keeps what became of the others.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.releases.ledger import Ledger, RolledBack, locked, read_ledger, write_ledger
from vtuber_brain.runtime.files import sync_folder, write_whole

BASE = "base"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Release:
    """One published version of a persona's lora."""

    persona: str
    name: str
    path: Path

    @property
    def manifest(self) -> Mapping[str, Any] | None:
        """How it came to be; None where nobody wrote it down."""
        try:
            manifest = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return manifest if isinstance(manifest, dict) else None

    @property
    def content(self) -> str | None:
        """The hash of what it is made of, as its manifest has it."""
        content = (self.manifest or {}).get("content")
        digest = content.get("sha256") if isinstance(content, dict) else None
        return digest if isinstance(digest, str) else None


class ReleaseStore:
    """The folder `personas` of the state folder, which need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def releases(self, persona: str) -> list[Release]:
        """Every release of a persona, by name. One in the making, whose name begins with a dot, is none yet.

        Raises ConfigError when the folder cannot be read.
        """
        folder = self.root / persona / "releases"
        try:
            there = sorted(folder.iterdir()) if folder.is_dir() else []
            return [Release(persona, path.name, path) for path in there if _is_name(path.name) and path.is_dir()]
        except OSError as error:
            fix = "Give the folder to the user that the daemon runs as"
            raise ConfigError([Problem(str(folder), f"cannot be read ({error.strerror})", fix)]) from None

    def find(self, persona: str, name: str) -> Release:
        """The release `name`. Raises ConfigError that lists those there are."""
        found = {release.name: release for release in self.releases(persona)}
        if name not in found:
            there = ", ".join(found) or "none"
            where, fix = f"release {name}", f"Choose one of {persona}'s releases ({there}), a PEFT directory, or {BASE}"
            raise ConfigError([Problem(where, f"no such release in {self.root / persona / 'releases'}", fix)])
        return found[name]

    def current(self, persona: str) -> Release | None:
        """The release in use; None: none was ever chosen. Raises ConfigError for a pointer that leads nowhere."""
        pointer = self._pointer(persona)
        fix = f"Choose one with `vtuber-brain persona use {persona} --release R`, or remove the file"
        try:
            name = json.loads(pointer.read_text(encoding="utf-8"))["release"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise ConfigError([Problem(str(pointer), f"cannot be read ({error})", fix)]) from None
        if not isinstance(name, str) or name not in {release.name for release in self.releases(persona)}:
            raise ConfigError([Problem(str(pointer), f"names {name!r}, which is not there", fix)])
        return self.find(persona, name)

    def make_current(self, release: Release) -> None:
        """Point at `release`: whoever reads meanwhile, or after a crash, finds the old pointer or the new one whole.

        Raises ConfigError for one that was rolled back, whose weights are never current again, and OSError.
        """
        folder = self.folder(release.persona)
        with locked(folder):
            ledger = read_ledger(folder)
            if (found := ledger.taken_back(release.name, release.content)) is not None:
                known, mark = found
                same = "it was" if known == release.name else f"the same weights were, as {known},"
                what = f"{same} rolled back by {mark.by}" + (f" ({mark.reason})" if mark.reason else "")
                fix = f"Choose another; to hear it all the same, name its folder: --release {release.path}"
                raise ConfigError([Problem(f"release {release.name}", what, fix)])
            ledger.promote(release.name, self.pointed(release.persona))
            write_ledger(folder, ledger)
            self._point(release.persona, release.name)

    def rollback(self, persona: str, by: str, reason: str = "", *, at: float | None = None) -> Release | None:
        """Go back to the release that was current before, or to the base model (None); the present one is marked.

        Called again after a crash it ends what was begun. Raises ConfigError when none is current, and OSError.
        """
        folder = self.folder(persona)
        if self.pointed(persona) is None:
            fix = "There is nothing to go back from; see: vtuber-brain persona releases"
            raise ConfigError([Problem(persona, "no release of hers is current", fix)])
        with locked(folder):
            name = self.pointed(persona) or ""
            ledger = read_ledger(folder)
            content = Release(persona, name, folder / "releases" / name).content
            mark = RolledBack(at=time.time() if at is None else at, by=by, reason=reason, content=content)
            ledger.rolled_back.setdefault(name, mark)
            write_ledger(folder, ledger)
            before = self._previous(persona, name, ledger)
            self._point(persona, before.name if before is not None else None)
            return before

    def pin(self, persona: str, name: str) -> None:
        """Have a release never pruned. Raises ConfigError when there is none of that name, and OSError."""
        self._pin(self.find(persona, name), is_pinned=True)

    def unpin(self, persona: str, name: str) -> None:
        """The other way round. Raises as `pin`."""
        self._pin(self.find(persona, name), is_pinned=False)

    def previous(self, persona: str) -> Release | None:
        """Where a rollback would lead; None: to the base model. Raises ConfigError for a damaged ledger."""
        return self._previous(persona, self.pointed(persona), self.ledger(persona))

    def ledger(self, persona: str) -> Ledger:
        """What became of her releases. Raises ConfigError for a damaged ledger."""
        return read_ledger(self.folder(persona))

    def folder(self, persona: str) -> Path:
        """Where all of a persona's is."""
        return self.root / persona

    def _previous(self, persona: str, current: str | None, ledger: Ledger) -> Release | None:
        there = {release.name: release for release in self.releases(persona)}
        for name in reversed(ledger.promoted):
            if name != current and name in there and ledger.taken_back(name, there[name].content) is None:
                return there[name]
        return None

    def _pin(self, release: Release, *, is_pinned: bool) -> None:
        folder = self.folder(release.persona)
        with locked(folder):
            ledger = read_ledger(folder)
            ledger.pinned = ledger.pinned | {release.name} if is_pinned else ledger.pinned - {release.name}
            write_ledger(folder, ledger)

    def pointed(self, persona: str) -> str | None:
        """The name in the pointer, whether it leads anywhere or not."""
        try:
            name = json.loads(self._pointer(persona).read_text(encoding="utf-8"))["release"]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            return None
        return name if isinstance(name, str) and _is_name(name) else None

    def _point(self, persona: str, name: str | None) -> None:
        pointer = self._pointer(persona)
        if name is not None:
            write_whole(pointer, json.dumps({"release": name}).encode() + b"\n")
            return
        pointer.unlink(missing_ok=True)
        sync_folder(pointer.parent)

    def _pointer(self, persona: str) -> Path:
        return self.root / persona / "current"


def _is_name(name: str) -> bool:
    return name != BASE and _NAME.fullmatch(name) is not None
