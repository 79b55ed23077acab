"""Puts the systemd units, a first config and the folders of state and cache in their places, and takes the units away.

Every path is known before anything is written. It never overwrites a config, never starts or stops anything, and never
removes what an operator would miss.
"""

import contextlib
import os
import pwd
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtuber_brain.config import shipped
from vtuber_brain.errors import Refused
from vtuber_brain.runtime.files import write_whole

SERVICE = "vtuber-brain.service"
UNITS = (SERVICE, "vtuber-brain-retrain.service", "vtuber-brain-retrain.timer", "vtuber-brain-voice.service")
USER = "vtuber-brain"
_PROGRAM, _CONFIG = "/opt/vtuber-brain/bin/vtuber-brain", "/etc/vtuber-brain/brain.toml"

_NOT_FOR_USERS = frozenset(
    {"User", "Wants", "After", "StateDirectory", "StateDirectoryMode", "CacheDirectory", "DeviceAllow"}
    | {"AmbientCapabilities", "CapabilityBoundingSet", "ProtectSystem", "ProtectHome", "PrivateMounts", "PrivateTmp"}
    | {"ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"}
    | {"ProtectProc", "RemoveIPC"}
)
"""What the manager of one user cannot do, or does to the user's own folders."""

Deed = Literal["written", "replaced", "unchanged", "made", "kept", "removed", "absent"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done, or with a dry run, that would be."""

    deed: Deed
    path: Path
    note: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything goes. `root` stands before every path that is written, as for a package; no unit names it."""

    units: Path
    config: Path
    state: Path
    cache: Path
    program: Path
    is_user: bool
    root: Path | None = None

    def real(self, path: Path) -> Path:
        """Where `path` is written."""
        return path if self.root is None else self.root / path.relative_to("/")


def places(*, is_user: bool, root: Path | None) -> Places:
    """Those of the system, or of the user who asks. Raises Refused for a program that the service could not reach."""
    program = Path(sys.prefix) / "bin" / "vtuber-brain"
    if not program.exists():
        raise Refused(f"{program}: not there, so a unit could not start it; install the package with pip first")
    if is_user:
        home = Path.home()
        config, state, cache = (
            Path(os.environ.get(name) or home / below)
            for name, below in (
                ("XDG_CONFIG_HOME", ".config"),
                ("XDG_STATE_HOME", ".local/state"),
                ("XDG_CACHE_HOME", ".cache"),
            )
        )
        ours = "vtuber-brain"
        units = config / "systemd" / "user"
        return Places(units, config / ours / "brain.toml", state / ours, cache / ours, program, True, root)
    if (root is None and program.is_relative_to("/home")) or program.is_relative_to("/root"):
        fix = "install into /opt/vtuber-brain, or give --user"
        raise Refused(f"{program}: a service of the system does not see anybody's home (ProtectHome); {fix}")
    system = Path("/etc/systemd/system"), Path(_CONFIG), Path("/var/lib/vtuber-brain"), Path("/var/cache/vtuber-brain")
    return Places(*system, program, False, root)


def install(where: Places, *, is_dry: bool) -> list[Step]:
    """Write what is missing or has changed; doing it again changes nothing. Raises Refused without the rights."""
    folders = [(where.state, 0o700), (where.cache, 0o755)]
    _may_write(where, [where.units, where.config.parent, *(folder for folder, _ in folders)])
    steps = [_put(where.real(where.units / name), unit(name, where).encode(), is_dry=is_dry) for name in UNITS]
    steps.append(_config(where, shipped("configs", "brain.toml").read_bytes(), is_dry=is_dry))
    steps += [_folder(where, folder, mode, is_dry=is_dry) for folder, mode in folders]
    return steps


def uninstall(where: Places, *, is_dry: bool) -> list[Step]:
    """Remove the units; config, state and cache stay. Raises Refused without the rights."""
    found = [where.real(where.units / name) for name in UNITS]
    if any(path.exists() for path in found):
        _may_write(where, [where.units])
    found += sorted(link for link in where.real(where.units).glob("*.wants/*") if link.name in UNITS)  # by `enable`
    steps = []
    for path in found:
        steps.append(Step("removed" if os.path.lexists(path) else "absent", path))
        if not is_dry:
            for one in (path, _old(path)):
                one.unlink(missing_ok=True)
    kept = [where.real(path) for path in (where.config, where.state, where.cache)]
    return steps + [Step("kept", path, "remove it yourself if you want it gone") for path in kept if path.exists()]


def unit(name: str, where: Places) -> str:
    """The unit `name` with the paths of this installation; for a user without what only the system's manager can do."""
    text = shipped("systemd", name).read_text(encoding="utf-8")
    text = text.replace(_PROGRAM, str(where.program)).replace(_CONFIG, str(where.config))
    if not where.is_user:
        return text
    lines = [line for line in text.splitlines() if line.partition("=")[0] not in _NOT_FOR_USERS and "%C" not in line]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).replace("multi-user.target", "default.target") + "\n"


def next_commands(where: Places) -> Iterator[str]:
    """What is left to be done by hand, as commands."""
    if where.is_user:
        yield f"{where.program} models fetch"
        yield f"{where.program} check --config {where.config}"
        yield "systemctl --user daemon-reload && systemctl --user enable --now vtuber-brain"
        yield "loginctl enable-linger   # so that it runs without you being logged in"
        return
    if _owner() is None:
        yield f"useradd --system --home-dir {where.state} {USER}"
        yield f"chown {USER}: {where.state} {where.cache}"
    as_user = f"runuser -u {USER} -- env VTB_CACHE={where.cache} VTB_STATE_DIR={where.state} {where.program}"
    yield f"{as_user} models fetch"
    yield f"{as_user} check --config {where.config}"
    yield "systemctl daemon-reload && systemctl enable --now vtuber-brain vtuber-brain-retrain.timer"


def _may_write(where: Places, folders: list[Path]) -> None:
    for folder in map(where.real, folders):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            fix = "" if where.is_user else ": run it as root, or give --user for a service of your own"
            raise Refused(f"{there} may not be written by this user{fix}. Nothing was changed")


def _put(path: Path, content: bytes, *, is_dry: bool) -> Step:
    before = path.read_bytes() if path.exists() else None
    if before == content:
        return Step("unchanged", path)
    if not is_dry:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if before is not None:
            write_whole(_old(path), before)
        write_whole(path, content)
        path.chmod(0o644)
    return Step("written", path) if before is None else Step("replaced", path, f"what it was is in {_old(path).name}")


def _config(where: Places, content: bytes, *, is_dry: bool) -> Step:
    path = where.real(where.config)
    if not path.exists():
        return _put(path, content, is_dry=is_dry)
    if path.read_bytes() == content:
        return Step("unchanged", path)
    new = path.with_name(f"{path.name}.new")
    if not new.exists() or new.read_bytes() != content:
        _put(new, content, is_dry=is_dry)
    return Step("kept", path, f"yours; every key with its default is in {new.name}")


def _folder(where: Places, folder: Path, mode: int, *, is_dry: bool) -> Step:
    path, deed = where.real(folder), "kept" if where.real(folder).exists() else "made"
    if not is_dry and deed == "made":
        path.mkdir(parents=True)
        path.chmod(mode)
        if not where.is_user and os.geteuid() == 0 and (owner := _owner()) is not None:
            os.chown(path, owner.pw_uid, owner.pw_gid)
    return Step("made" if deed == "made" else "kept", path)


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _owner() -> pwd.struct_passwd | None:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(USER)
    return None
