"""`vtuber-brain filter`: what the running daemon's filter left to a human, and its lists read anew, over the bus."""

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from vtuber_brain.chat.screen import plain
from vtuber_brain.orders import Config, have_done

filter_ = App(name="filter", help="The messages held for a human, and the filter's lists.")

Source = Annotated[str | None, Parameter(name="--source", help="Where the message came from, such as twitch.")]
_ID = "Give a message's id, as `vtuber-brain filter held` shows it"


@filter_.command
def held(*, config: Config = None) -> int:
    """The messages that wait for your decision, the longest first."""
    return have_done(config, _show_held, _ID, command="held")


@filter_.command
def allow(message_id: str, *, source: Source = None, config: Config = None) -> int:
    """Let a held message be answered."""
    return have_done(config, _nothing, _ID, command="allow", message_id=message_id, source=source)


@filter_.command
def deny(message_id: str, *, source: Source = None, config: Config = None) -> int:
    """Deny a held message."""
    return have_done(config, _nothing, _ID, command="deny", message_id=message_id, source=source)


@filter_.command
def reload(*, config: Config = None) -> int:
    """Read the settings' thresholds, the lists and the persona anew, as SIGHUP does."""
    return have_done(config, _show_reloaded, "", command="reload")


def _show_held(data: Mapping[str, Any]) -> None:
    for one in data["held"]:
        why, who = ", ".join(one["reasons"]), plain(one["author"])
        _say(f"{plain(one['id'])}  {one['age_s']:>4.0f} s  {why}  {who}: {plain(one['text'])}")
    if not data["held"]:
        _say("nothing is held")


def _show_reloaded(data: Mapping[str, Any]) -> None:
    needs = data["needs_restart"]
    _say(f"read anew; a restart is needed for: {', '.join(needs)}" if needs else "read anew")


def _nothing(_: Mapping[str, Any]) -> None:
    _say("done")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
