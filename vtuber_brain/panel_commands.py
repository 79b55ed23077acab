"""The way into the operator's panel: at the start of the daemon, and `vtuber-brain panel` later."""

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from vtuber_brain.started import Started

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def panel(
    *,
    config: Annotated[Path | None, Parameter(name="--config", help="The TOML file of settings; else defaults.")] = None,
    role: Annotated[Literal["viewer", "moderator", "owner"], Parameter(help="Whose link.")] = "owner",
) -> None:
    """Print a link that logs a browser in. Whoever has it may do what the role may: pass it on with care."""
    from vtuber_brain.config import load, state_dir
    from vtuber_brain.control.tokens import owner_token
    from vtuber_brain.errors import ConfigError, Problem
    from vtuber_brain.panel.addresses import login_link
    from vtuber_brain.runtime import logs

    logs.setup("warning", "auto")
    settings = load(config)
    given = {"viewer": settings.control.viewer_token, "moderator": settings.control.moderator_token}.get(role)
    token = given.get_secret_value() if given is not None else ""
    if role == "owner":
        token = owner_token(settings.control, state_dir())
    if not settings.control.panel or not token:
        key = f"control.{role}_token" if settings.control.panel else "control.panel"
        raise ConfigError([Problem(key, "is not set, so there is no such link", "Set it and start the daemon anew")])
    print(login_link(settings, settings.control.port, token), flush=True)  # noqa: T201


def opened(started: "Started") -> None:
    """Tell the operator that she can talk, and on a desktop open what there is to see."""
    from vtuber_brain.console import welcome

    welcome(started)
    doors = started.doors
    if doors is not None and doors.may_open and has_desktop(os.environ, is_terminal=sys.stdout.isatty()):
        pages = [doors.once, *([doors.overlay] if doors.is_voiced else [])]
        threading.Thread(target=_open, args=(pages,), name="browser", daemon=True).start()


def has_desktop(environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Whether somebody sits before this process who can see a browser: never under systemd or over ssh."""
    is_remote = "SSH_CONNECTION" in environment or "INVOCATION_ID" in environment
    return is_terminal and not is_remote and any(environment.get(name) for name in _DISPLAYS)


def _open(pages: list[str]) -> None:
    for page in pages:
        webbrowser.open_new_tab(page)
