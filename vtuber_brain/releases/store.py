"""Which releases of a persona there are and which is current, as the state folder has it. Never reads any weights.

`ROOT/PERSONA/releases/RELEASE/` is a PEFT directory, with a `manifest.json` if we published it;
`ROOT/PERSONA/current` is one line of JSON that names the release in use.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtuber_brain.errors import ConfigError, Problem

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


class ReleaseStore:
    """The folder `personas` of the state folder, which need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def releases(self, persona: str) -> list[Release]:
        """Every release of a persona, by name. One in the making, whose name begins with a dot, is none yet."""
        folder = self.root / persona / "releases"
        if not folder.is_dir():
            return []
        named = (path for path in folder.iterdir() if _is_name(path.name) and path.is_dir())
        return [Release(persona, path.name, path) for path in sorted(named)]

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

        Pointing at an earlier release again is the rollback. Raises OSError.
        """
        pointer = self._pointer(release.persona)
        draft = pointer.with_name(f".current-{os.getpid()}")
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(json.dumps({"release": release.name}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(pointer)
        finally:
            draft.unlink(missing_ok=True)
        _sync(pointer.parent)

    def _pointer(self, persona: str) -> Path:
        return self.root / persona / "current"


def _sync(folder: Path) -> None:
    """Have the disk remember the names in `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_name(name: str) -> bool:
    return name != BASE and _NAME.fullmatch(name) is not None
