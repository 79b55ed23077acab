"""The commands round the service: put its units in place, ask whether she is on air, save the state and bring it back.

Exit codes: those of `vtuber_brain/cli.py`.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from vtuber_brain.backing import Belongings
    from vtuber_brain.installing import Step

DONE, FAILED, UNKNOWN = 0, 1, 255

Config = Annotated[Path | None, Parameter(name="--config", help="The TOML file of settings; else all defaults.")]
User = Annotated[
    bool, Parameter(name="--user", help="For the user's own manager instead of the system's.", negative="")
]
Prefix = Annotated[
    Path | None, Parameter(name="--prefix", help="Put everything below this folder, as a package would.")
]
Dry = Annotated[bool, Parameter(name="--dry-run", help="Say what would be done, and do nothing.", negative="")]


def install_service(*, user: User = False, prefix: Prefix = None, dry_run: Dry = False) -> None:
    """Write the systemd units with this installation's paths, a config if there is none, and the folders of state."""
    from vtuber_brain.installing import install, next_commands, places

    os.umask(0o022)  # units and configuration are read by others
    where = places(is_user=user, root=prefix.absolute() if prefix is not None else None)
    _show(install(where, is_dry=dry_run), dry_run=dry_run)
    _say("next:")
    for command in next_commands(where):
        _say(f"  {command}")


def uninstall_service(*, user: User = False, prefix: Prefix = None, dry_run: Dry = False) -> None:
    """Remove the units; config, state and cache stay, and are named."""
    from vtuber_brain.installing import places, uninstall

    where = places(is_user=user, root=prefix.absolute() if prefix is not None else None)
    _show(uninstall(where, is_dry=dry_run), dry_run=dry_run)
    manager = "systemctl --user" if user else "systemctl"
    _say(f"next:\n  {manager} stop vtuber-brain vtuber-brain-voice vtuber-brain-retrain.timer; {manager} daemon-reload")


def off_air(*, config: Config = None) -> int:
    """Exit 0 when no daemon is awake on these transcripts, 1 when one is, and who; the night's timer asks it.

    Exit 255 when the settings are wrong: a lower one would be a night skipped in silence to systemd's ExecCondition.
    """
    from vtuber_brain.config import load, state_dir
    from vtuber_brain.console import show_problems
    from vtuber_brain.errors import ConfigError
    from vtuber_brain.runtime.lease import ON_AIR, holder

    try:
        transcripts = load(config).transcripts.path or state_dir() / "transcripts.db"
    except ConfigError as error:
        show_problems(error.problems)
        return UNKNOWN
    found = holder(transcripts.with_name(ON_AIR))
    _say("nobody is live" if found is None else f"live: {found}")
    return DONE if found is None else FAILED


def backup(
    file: Path,
    *,
    recordings: Annotated[bool, Parameter(help="The recording of all chat too.", negative="")] = False,
    config: Config = None,
) -> None:
    """Save transcripts, releases, tokens and plugins' state into FILE (a tar), also while the daemon runs."""
    from vtuber_brain.backing import save
    from vtuber_brain.errors import Refused

    what = _belongings(config)
    if not what.state.is_dir() and not what.transcripts.exists():
        raise Refused(f"{what.state}: there is no state to save. Name its folder: VTB_STATE_DIR=FOLDER")
    found = save(what, file, recordings=recordings)
    size = sum(one["size"] for one in found.values())
    _say(f"{len(found)} files, {size / 1e6:.1f} MB: {file}")


def restore(
    file: Path,
    *,
    force: Annotated[bool, Parameter(help="Move what is there aside first.", negative="")] = False,
    config: Config = None,
) -> None:
    """Bring back what `backup` saved, checked file by file; the daemon must not run."""
    from vtuber_brain.backing import bring_back

    where = _belongings(config)
    _say(f"{bring_back(file, where, force=force)} files restored into {where.state}\nnext:\n  vtuber-brain check")


def _belongings(config: Path | None) -> "Belongings":
    from vtuber_brain.backing import Belongings
    from vtuber_brain.config import load, state_dir

    settings, state = load(config), state_dir()
    return Belongings(state, settings.transcripts.path or state / "transcripts.db", settings.chat.record)


def _show(steps: "Iterable[Step]", *, dry_run: bool) -> None:
    for step in steps:
        would = "would be " if dry_run and step.deed in {"written", "replaced", "made", "removed"} else ""
        _say(f"{would}{step.deed:9}  {step.path}" + (f"  ({step.note})" if step.note else ""))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
