"""The avatar of the settings, as pages are told of it and may fetch it: drawn by the page, PNG files, a VRM file.

Only files found here are ever served: their names are listed once, nothing that a page asks for becomes a path.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vtuber_brain.errors import Refused

URL = "/overlay/avatar/"
DRAWN = "drawn"
MAX_FILES = 256

_STEM = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True, slots=True)
class Avatar:
    """`files` are those that may be fetched, by the last part of their URL; `told` is what the `hello` says."""

    told: Mapping[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)


def find_avatar(setting: str) -> Avatar:
    """The avatar that `voice.avatar` names. Raises Refused with what is wrong and what belongs there."""
    if setting == DRAWN:
        return Avatar({"kind": "drawn", "files": {}})
    path = Path(setting).expanduser()
    if path.suffix.lower() == ".vrm":
        if not path.is_file():
            raise Refused(f"voice.avatar: {path}: no such file")
        return Avatar({"kind": "vrm", "files": {"model": URL + quote(path.name)}}, {path.name: path})
    if not path.is_dir():
        raise Refused(f"voice.avatar: {path}: neither drawn, nor a folder of PNG files, nor a .vrm file")
    pictures = {one.stem: one for one in sorted(path.glob("*.png"))[:MAX_FILES] if _STEM.fullmatch(one.stem)}
    if missing := sorted({"idle", "talk"} - set(pictures)):
        raise Refused(f"voice.avatar: {path} lacks {', '.join(f'{stem}.png' for stem in missing)}")
    urls = {stem: URL + one.name for stem, one in pictures.items()}
    return Avatar({"kind": "png", "files": urls}, {one.name: one for one in pictures.values()})
