"""`vtuber-brain persona`: who is on stage in the running daemon, asked and changed over the bus."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from vtuber_brain.console import show_cast, show_persona
from vtuber_brain.orders import Config, have_done
from vtuber_brain.roles import by_name

persona = App(name="persona", help="Who is on stage in the running daemon, and who stands ready.")
for name, what in (
    ("releases", "A persona's releases: current, previous, pinned, rolled back."),
    ("rollback", "Go back to the release that was current before, for good."),
    ("pin", "Have a release never pruned."),
    ("unpin", "Let a release be pruned when its time comes."),
):
    persona.command(f"vtuber_brain.release_commands:{name}", name=name, help=what)
for name, function, what in (
    ("import", "import_", "Judge a lora that was trained elsewhere, and release it if it passes."),
    ("approve", "approve", "Have a release that waits for a person's word go live."),
    ("refuse", "refuse", "Have a release that waits for a person's word never go live."),
    ("ab", "ab", "Who won on the blind sheet of a night."),
    ("export", "export", "Base and lora as one model, for other engines."),
):
    persona.command(f"vtuber_brain.candidate_commands:{function}", name=name, help=what)

Release = Annotated[str | None, Parameter(name="--release", help="A release, a PEFT directory, or base.")]


@persona.command(name="list")
def list_(*, config: Config = None) -> int:
    """Every persona and release: which is on stage, which are ready in the engine, which is current."""
    return _order(config, show_cast, command="personas")


@persona.command
def show(name: str, *, config: Config = None) -> int:
    """One persona, her releases and how they came to be."""
    return _order(config, show_persona, command="show", name=name)


@persona.command
def use(name: str, *, release: Release = None, config: Config = None) -> int:
    """Bring a persona on stage; replies that run end as they began. A release given by name becomes her current one."""
    return _order(config, _show_role, command="persona", name=name, release=_absolute(release))


@persona.command
def preload(name: str, *, release: Release = None, config: Config = None) -> int:
    """Have a persona ready, so that bringing her on stage later takes no time."""
    return _order(config, _show_role, command="preload", name=name, release=_absolute(release))


@persona.command
def drop(name: str, *, release: Release = None, config: Config = None) -> int:
    """Take a persona's release, or all of hers that are idle, out of the engine."""
    return _order(config, _show_dropped, command="drop", name=name, release=_absolute(release))


def _order(config: Path | None, show: Callable[[Mapping[str, Any]], None], **fields: str | None) -> int:
    return have_done(config, show, "Give a persona's name, such as mori", **fields)


def _absolute(release: str | None) -> str | None:
    """The daemon has another working directory than we."""
    return by_name(release) if release is not None else None


def _show_role(role: Mapping[str, Any]) -> None:
    _say(f"{role['persona']} with {role['release'] or 'the base model'}")


def _show_dropped(dropped: Mapping[str, Any]) -> None:
    _say("\n".join(f"{one['persona']}: {one['release']} dropped" for one in dropped["dropped"]))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
