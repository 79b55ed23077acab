"""`vtuber-brain transcripts`: what was heard and said, what the operator thinks of it, and who wants to be forgotten.

Everything here works beside a running daemon. Exit codes: those of `vtuber_brain/cli.py`.
"""

import getpass
import json as jsonlib
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from vtuber_brain.config import load, state_dir
from vtuber_brain.transcripts.ratings import Rating

transcripts = App(name="transcripts", help="What was heard and said.")

Config = Annotated[Path | None, Parameter(name="--config", help="The TOML file of settings; else all defaults.")]
Form = Literal["jsonl", "openai", "sharegpt", "trl"]
By = Annotated[str | None, Parameter(name="--by", help="Who says so; else the user's name.")]
Reason = Annotated[str, Parameter(name="--reason", help="Why, for whoever reads it later.")]
Viewer = Annotated[str, Parameter(help="A name, an id, or source:id.")]

DONE, FAILED = 0, 1

_RATINGS: dict[str, Rating] = {"up": 1, "down": -1, "none": 0}
_MARKS = {1: "up", -1: "down", 0: "none", None: ""}


@transcripts.command
def stats(*, config: Config = None) -> None:
    """What was heard, denied, dropped and said, stream by stream."""
    from rich.console import Console

    from vtuber_brain.transcripts.export import stats as figures
    from vtuber_brain.transcripts.export import table

    Console().print(table(figures(_database(config))))


@transcripts.command
def export(
    *,
    out: Annotated[Path | None, Parameter(help="The file to write; else standard output.")] = None,
    stream: Annotated[int | None, Parameter(help="One stream's turns only.")] = None,
    retracted: Annotated[bool, Parameter(help="Also what was taken back; jsonl only.")] = False,
    form: Annotated[Form, Parameter(name="--format", help="jsonl: all there is; else rows to train on.")] = "jsonl",
    config: Config = None,
) -> None:
    """Every turn as a JSON line: message, verdict, reply, persona, model, timings; or a dataset in another format."""
    from vtuber_brain.retrain.exports import exported

    personas = load(config).persona
    rows = exported(_database(config), form, stream=stream, retracted=retracted, personas=personas)
    with out.open("w", encoding="utf-8") if out is not None else nullcontext(sys.stdout) as target:
        for row in rows:
            target.write(jsonlib.dumps(row, ensure_ascii=False) + "\n")


@transcripts.command(name="approve-list")
def approve_list(
    *,
    stream: Annotated[int | None, Parameter(help="One stream's replies only.")] = None,
    everything: Annotated[bool, Parameter(name="--all", help="Also those with a rating.", negative="")] = False,
    limit: Annotated[int, Parameter(help="The newest so many.")] = 50,
    json: Annotated[bool, Parameter(help="One JSON object a line.", negative="")] = False,
    config: Config = None,
) -> None:
    """The latest replies that wait for a rating, newest first, with the ids that `rate` and `edit` take."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from vtuber_brain.transcripts.ratings import rated

    found = rated(_database(config), stream=stream, unrated=not everything, limit=limit)
    if json:
        for one in found:
            _say(jsonlib.dumps(asdict(one), ensure_ascii=False))
        return
    grid = Table("reply", "rating", "what she answered", "what was heard")
    for one in found:
        asked = f"{one.viewer}: {one.said}" if one.viewer is not None else one.said or ""
        heard = one.heard_text if one.edited_text is None else f"{one.heard_text}\n→ {one.edited_text}"
        grid.add_row(one.reply_id, _MARKS[one.rating], escape(asked), escape(heard))
    Console().print(grid)


@transcripts.command
def rate(
    reply: str, rating: Literal["up", "down", "none"], *, by: By = None, reason: Reason = "", config: Config = None
) -> None:
    """Say that a reply was good, which lets her learn from it, or bad, or take the rating back."""
    from vtuber_brain.transcripts.ratings import rate as note

    stream = note(_database(config), reply, _RATINGS[rating], by or _me(), reason=reason)
    _say(f"{reply} of stream {stream}: {rating}")


@transcripts.command
def edit(reply: str, text: str, *, by: By = None, reason: Reason = "", config: Config = None) -> None:
    """Say what she should have answered: she learns that instead. It counts as a rating up."""
    from vtuber_brain.transcripts.ratings import edit as note

    stream = note(_database(config), reply, text, by or _me(), reason=reason)
    _say(f"{reply} of stream {stream}: corrected")


@transcripts.command
def forget(viewer: Viewer, *, config: Config = None) -> int:
    """Empty all that a viewer wrote, the replies to it, and replies to others that name or quote them. For good."""
    from vtuber_brain.nights import purge
    from vtuber_brain.transcripts.viewers import forget as empty
    from vtuber_brain.transcripts.viewers import the_viewer

    path = _database(config)
    meant = the_viewer(path, viewer)
    gone = empty(path, meant.source, meant.author_id)
    _say(
        f"{meant.key} is forgotten: {gone.num_messages} messages, {gone.num_replies} replies to them, "
        f"{gone.num_quoting} replies to others"
    )
    if not gone.is_scrubbed:
        _say("The file is large or was being read: the next retrain packs it anew, and then no byte of it is left")
    if (night := purge(state_dir())) is not None:
        _say(f"{night} is at work with what it read before: end it, and give this command again")
        return FAILED
    _say("What was trained before holds what it learnt: the next retrain begins without this viewer")
    return DONE


@transcripts.command(name="opt-out")
def opt_out(viewer: Viewer, *, by: By = None, config: Config = None) -> None:
    """Learn from nothing that a viewer wrote or will write; it stays in the transcripts."""
    from vtuber_brain.transcripts.viewers import opt_out as choose
    from vtuber_brain.transcripts.viewers import the_viewer

    path = _database(config)
    meant = the_viewer(path, viewer)
    choose(path, meant.source, meant.author_id, by or _me())
    _say(f"{meant.key}: nothing is learnt from")


@transcripts.command(name="opt-in")
def opt_in(viewer: Viewer, *, by: By = None, config: Config = None) -> None:
    """Take an opt-out back."""
    from vtuber_brain.transcripts.viewers import opt_in as choose
    from vtuber_brain.transcripts.viewers import the_viewer

    path = _database(config)
    meant = the_viewer(path, viewer)
    choose(path, meant.source, meant.author_id, by or _me())
    _say(f"{meant.key}: may be learnt from")


def _database(config: Path | None) -> Path:
    return load(config).transcripts.path or state_dir() / "transcripts.db"


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
