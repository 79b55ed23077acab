"""What lies open to other users of the machine and should not: told by `check`, changed by nobody but the operator."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_READ, _WRITE = 0o044, 0o022
_KEPT = ("transcripts.db", "transcripts.db-wal", "twitch.json", "control_token", "audit.jsonl", "nights")


def open_to_others(config: Path | None, state: Path, plugins: Path, transcripts: Path | None) -> Iterator[str]:
    """Each as a sentence with what helps. A folder that only its owner can enter protects what is in it."""
    if config is not None and _mode(config) & _WRITE:
        yield f"{config}: others may write it, and decide what runs here: chmod go-w {config}"
    if _mode(state) & 0o011:
        for path in [*(state / name for name in _KEPT), *sorted(state.glob("*token*"))]:
            if path != transcripts and _mode(path) & (_READ | _WRITE):
                yield f"{path}: others may read it: chmod go-rwx {path} {state}"
    if transcripts is not None and _mode(transcripts) & (_READ | _WRITE) and _mode(transcripts.parent) & 0o011:
        yield f"{transcripts}: others may read what viewers wrote: chmod 600 {transcripts}"
    for folder in (plugins, *sorted(path for path in plugins.glob("*") if path.is_dir())):
        if _mode(folder) & _WRITE:
            yield f"{folder}: others may write it, and what is in it runs in the daemon: chmod -R go-w {folder}"
        elif _mode(folder) and folder.stat().st_uid not in {0, os.geteuid()}:
            yield f"{folder}: belongs to somebody else, and what is in it runs in the daemon: chown it, or remove it"


def _mode(path: Path) -> int:
    """The permissions; 0 of what is not there or cannot be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
