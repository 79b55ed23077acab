"""How the viewer's terminal looks: one row for each thing that happens, in four aligned columns. Pure.

Text of viewers and of the model is shown without control characters, so that none can drive the terminal.
"""

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from vtuber_brain.chat.frames import CueBody, DroppedFrame, ErrorFrame, ReplyFrame, VerdictFrame, WhyBody

LABEL_WIDTH, CUE_WIDTH, TIME_WIDTH = 10, 10, 7
VIEWER_STYLE = "bold cyan"
_MOOD_STYLES = {"positive": "green", "neutral": "white", "negative": "red"}
_OUTCOME_STYLES = {"spoken": "dim", "cut": "yellow", "retracted": "yellow", "refused": "red", "failed": "red"}
_ZERO_WIDTH_JOINER = "\u200d"

HELP = (
    ("/as NAME", "speak as another viewer"),
    ("/delete", "take your last message back"),
    ("/ban NAME", "ban a viewer of this terminal"),
    ("/clear", "clear the whole chat"),
    ("/quit", "leave"),
)


def row(label: Text, text: Text, cue: str = "", elapsed_s: float | None = None) -> Table:
    """Who, what, with which cue, after how long."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=LABEL_WIDTH + 2, justify="right", no_wrap=True, overflow="ellipsis")
    grid.add_column(ratio=1, overflow="fold")
    grid.add_column(width=CUE_WIDTH, justify="right", no_wrap=True, overflow="ellipsis", style="yellow")
    grid.add_column(width=TIME_WIDTH, justify="right", no_wrap=True, style="dim")
    grid.add_row(label, text, plain(cue), duration(elapsed_s))
    return grid


def label(name: str, style: str, mark: str) -> Text:
    """A name, cut to the column's width, and the mark that tells hearing from speaking."""
    shown = plain(name)
    shown = shown if cell_len(shown) <= LABEL_WIDTH else set_cell_size(shown, LABEL_WIDTH - 1) + "…"
    return Text.assemble((" " * (LABEL_WIDTH - cell_len(shown)), ""), (shown, style), (f" {mark}", "dim"))


def prompt(name: str) -> Text:
    """What stands before the line being typed."""
    return label(name, VIEWER_STYLE, "›").append(" ")


def viewer_line(name: str, text: str) -> Table:
    """What a viewer wrote."""
    return row(label(name, VIEWER_STYLE, "›"), Text(plain(text)))


def other_line(name: str, text: str) -> Table:
    """What a viewer elsewhere wrote, shown because it is being answered."""
    return row(label(name, "cyan", "›"), Text(plain(text), "dim"))


def spoken_line(name: str, text: str, cue: CueBody | None, elapsed_s: float | None) -> Table:
    """One sentence of hers; the name stands before the first one of a reply."""
    who = label(name, "bold magenta", "‹") if name else Text()
    return row(who, Text(plain(text)), cue.name if cue else "", elapsed_s)


def verdict_line(frame: VerdictFrame, elapsed_s: float | None, author: str = "") -> Table:
    """What the filter and the classifier say; `author` when it is another viewer's message."""
    allowed = frame.action == "allow"
    text = Text().append("✓ allowed" if allowed else "✗ denied", "green" if allowed else "bold red")
    if frame.reasons:
        text.append(" " + plain(", ".join(frame.reasons)), "red")
    if frame.mood:
        text.append(" · ", "dim").append(frame.mood, _MOOD_STYLES[frame.mood])
        if (score := frame.scores.get(frame.mood)) is not None:
            text.append(f" {score:.2f}", "dim")
    if frame.toxicity is not None:
        text.append(f" · toxicity {frame.toxicity:.2f}", "dim")
    return row(label(author, "cyan", "›") if author else Text(), text, elapsed_s=elapsed_s)


def why_line(why: WhyBody) -> Table:
    """Why it was this message's turn."""
    parts = " · ".join(f"{plain(name).replace('_', ' ')} {part:.2f}" for name, part in why.parts.items())
    asking = f", {why.asking} viewers ask it" if why.asking > 1 else ""
    return row(Text(), Text(f"chosen of {why.waiting} with {why.score:.2f}{asking}: {parts}", "dim"))


def dropped_line(frame: DroppedFrame, elapsed_s: float | None, author: str = "") -> Table:
    """A message that ended before a verdict, or was taken back; `author` when it is another viewer's."""
    return row(
        label(author, "cyan", "›") if author else Text(),
        Text(f"✗ dropped {frame.reason}", "yellow"),
        elapsed_s=elapsed_s,
    )


def error_line(frame: ErrorFrame) -> Table:
    """A frame that the daemon did not take."""
    return row(Text(), Text(f"✗ not taken: {frame.code}: {plain(frame.detail)}", "red"))


def reply_line(frame: ReplyFrame, elapsed_s: float | None) -> Table:
    """The end of a reply."""
    text = Text().append(frame.outcome, _OUTCOME_STYLES[frame.outcome])
    if frame.reason:
        text.append(f" {plain(frame.reason)}", "dim")
    return row(Text(), text, elapsed_s=elapsed_s)


def note(text: str, style: str = "dim") -> Table:
    """A word of the terminal's own."""
    return row(Text(), Text(plain(text), style))


def help_rows() -> list[Table]:
    """What can be typed."""
    return [row(Text(), Text.assemble((f"{command:10}", "cyan"), (meaning, "dim"))) for command, meaning in HELP]


def duration(seconds: float | None) -> str:
    """A short length of time: milliseconds below a tenth of a second."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def plain(text: str) -> str:
    """The text without anything that is not to be seen; line breaks become spaces."""
    spaced = text.replace("\n", " ").replace("\t", " ")
    return "".join(char for char in spaced if char.isprintable() or char == _ZERO_WIDTH_JOINER)
