"""`vtuber-brain persona releases|rollback|pin|unpin`: a persona's releases, with or without a daemon that runs.

Exit codes: 0 done; 1 the daemon that runs did not follow; 2 there is no such persona or release, or nothing to go back
from.
"""

import asyncio
import getpass
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from vtuber_brain.config import Settings, load, state_dir
from vtuber_brain.errors import Unavailable
from vtuber_brain.releases.store import ReleaseStore

if TYPE_CHECKING:
    from vtuber_brain.bus.control import ControlResult
    from vtuber_brain.releases.publish import Standing
    from vtuber_brain.releases.store import Release

DONE, FAILED = 0, 1

Config = Annotated[Path | None, Parameter(name="--config", help="The file the daemon was started with.")]
Name = Annotated[str | None, Parameter(help="The persona; else the one of the settings.")]
Persona = Annotated[str | None, Parameter(name="--persona", help="Whose it is; else the persona of the settings.")]
By = Annotated[str | None, Parameter(name="--by", help="Who says so; else the user's name.")]


def releases(
    name: Name = None, /, *, json: Annotated[bool, Parameter(negative="")] = False, config: Config = None
) -> None:
    """A persona's releases, oldest first: current, previous, pinned, rolled back, size, what the gate said."""
    from vtuber_brain.releases.publish import standings
    from vtuber_brain.releases.waiting import waiting

    settings = load(config)
    found = standings(store_of(), name or configured(settings))
    if json:
        _say_json(found)
    else:
        _show(found, waiting(store_of(), name or configured(settings)))


def rollback(
    name: Name = None,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why, for whoever asks later.")] = "",
    by: By = None,
    config: Config = None,
) -> int:
    """Go back to the release that was current before, at once where she is on stage. The one left never comes back."""
    settings, store = load(config), store_of()
    whose = name or configured(settings)
    release = store.rollback(whose, by or me(), reason)
    _say(f"{whose}: {release.name if release is not None else 'the base model'} is current again")
    return asyncio.run(tell_daemon(settings, whose, release))


def pin(release: str, /, *, persona: Persona = None, config: Config = None) -> None:
    """Have a release never pruned."""
    whose = persona or configured(load(config))
    store_of().pin(whose, release)
    _say(f"{whose}: {release} is pinned")


def unpin(release: str, /, *, persona: Persona = None, config: Config = None) -> None:
    """Let a release be pruned when its time comes."""
    whose = persona or configured(load(config))
    store_of().unpin(whose, release)
    _say(f"{whose}: {release} is not pinned")


async def tell_daemon(settings: Settings, name: str, release: "Release | None") -> int:
    """Have a daemon with her on stage speak with `release` (None: what she begins with) from now on; the exit code."""
    from vtuber_brain.bus.control import Personas, UsePersona

    try:
        listing = await _order(settings, Personas(command="personas"))
        if not listing.ok or (listing.data or {}).get("on_stage", {}).get("persona") != name:
            _say(f"{name} is not on stage, so nobody had to be told")
            return DONE
        wanted = release.name if release is not None else None
        result = await _order(settings, UsePersona(command="persona", name=name, release=wanted))
    except Unavailable:
        _say("No daemon answers: the pointer alone was moved, and holds from its next start")
        return DONE
    if not result.ok:
        _say(f"The daemon did not follow: {result.detail or result.code}")
        return FAILED
    _say("She speaks with it from her next reply on")
    return DONE


async def _order(settings: Settings, command: Any) -> "ControlResult":
    from vtuber_brain.bus.order import order

    return await order(settings.bus, configured(settings), command)


def configured(settings: Settings) -> str:
    """The name of the persona of the settings."""
    return Path(settings.persona.name).stem


def store_of() -> ReleaseStore:
    """The releases in the state folder."""
    return ReleaseStore(state_dir() / "personas")


def me() -> str:
    """Who types, by name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def _show(found: "list[Standing]", held: "list[Release]") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("release", "state", "gate", "MB"):
        table.add_column(column)
    for one in found:
        gate = (one.release.manifest or {}).get("gate")
        told = str(gate.get("outcome", "")) if isinstance(gate, dict) else ""
        table.add_row(
            escape(one.release.name),
            escape(", ".join(_states(one, waits=one.release in held))),
            escape(told),
            f"{one.num_bytes / 1e6:.1f}",
        )
    Console().print(table)


def _states(one: "Standing", *, waits: bool) -> list[str]:
    states = {"current": one.is_current, "previous": one.is_previous, "pinned": one.is_pinned}
    told = [state for state, applies in states.items() if applies] + (["waits for approve or refuse"] if waits else [])
    return [*told, f"rolled back {one.rolled_back}"] if one.rolled_back is not None else told


def _say_json(found: "list[Standing]") -> None:
    import json

    for one in found:
        plain = asdict(one)
        plain["release"] = one.release.name
        _say(json.dumps(plain, ensure_ascii=False))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
