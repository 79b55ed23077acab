"""How things look: aligned, complete, and with nothing in them that could drive the terminal."""

import pytest
from rich.console import Console

from vtuber_brain.chat import screen
from vtuber_brain.chat.frames import CueBody, DroppedFrame, ErrorFrame, ReplyFrame, VerdictFrame

WIDTH = 80


def shown(*rows) -> list[str]:
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as captured:
        for row in rows:
            console.print(row)
    return [line.rstrip() for line in captured.get().splitlines()]


def verdict(**changes):
    fields = {
        "id": "m",
        "source": "websocket",
        "action": "allow",
        "reasons": [],
        "mood": "positive",
        "scores": {"positive": 0.934, "neutral": 0.05},
        "toxicity": 0.012,
    }
    return VerdictFrame(**{**fields, **changes})


def test_everything_stands_in_the_same_columns():
    smile = CueBody(name="smile", intensity=1, for_ms=100)
    lines = shown(
        screen.viewer_line("kopi", "hi Mori!"),
        screen.verdict_line(verdict(), 0.041),
        screen.spoken_line("mori", "Hello there.", smile, 0.62),
        screen.spoken_line("", "Stay a while.", None, None),
        screen.reply_line(
            ReplyFrame(
                reply_id="r", outcome="spoken", reason=None, text="", in_reply_to="m", source="websocket", timings={}
            ),
            1.24,
        ),
    )
    assert lines == [
        "      kopi › hi Mori!",
        "             ✓ allowed · positive 0.93 · toxicity 0.01                     41 ms",
        "      mori ‹ Hello there.                                          smile  0.62 s",
        "             Stay a while.",
        "             spoken                                                       1.24 s",
    ]


def test_a_long_text_stays_in_its_column():
    lines = shown(screen.viewer_line("kopi", "word " * 40))
    assert len(lines) > 2
    assert all(line.startswith(" " * 13 + "word") for line in lines[1:])
    assert all(len(line) <= WIDTH for line in lines)


@pytest.mark.parametrize("name", ["x" * 50, "漢字" * 20])
def test_a_long_name_is_cut_and_the_prompt_stands_with_the_lines(name):
    (line,) = shown(screen.viewer_line(name, "hi"))
    assert "… › hi" in line
    assert screen.prompt(name).cell_len == screen.prompt("kopi").cell_len == 13


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (screen.verdict_line(verdict(action="deny", reasons=["toxic", "caps"]), None), "✗ denied toxic, caps"),
        (screen.verdict_line(verdict(mood=None, scores={}, toxicity=None), None), "✓ allowed"),
        (screen.dropped_line(DroppedFrame(id="m", source="w", reason="author_rate"), None), "✗ dropped author_rate"),
        (
            screen.error_line(ErrorFrame(code="too_long", detail="text: at most 4000")),
            "✗ not taken: too_long: text: at most 4000",
        ),
        (screen.note("trying again"), "trying again"),
    ],
)
def test_the_other_rows(row, expected):
    assert expected in shown(row)[0]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, ""), (0.0, "0 ms"), (0.0994, "99 ms"), (0.1, "0.10 s"), (75, "75.00 s")]
)
def test_durations(seconds, expected):
    assert screen.duration(seconds) == expected


def test_text_cannot_drive_the_terminal():
    hostile = "a\x1b[2Jb\x07c\x9bd\u202ee\rf\ng"
    assert screen.plain(hostile) == "a[2Jbcdef g"
    rows = (
        screen.viewer_line(hostile, hostile),
        screen.spoken_line("mori", hostile, CueBody(name=hostile, intensity=1, for_ms=1), None),
        screen.verdict_line(verdict(reasons=[hostile]), None),
        screen.error_line(ErrorFrame(code="binary", detail=hostile)),
        screen.note(hostile),
    )
    text = "\n".join(shown(*rows))
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")


def test_markup_and_emoji_are_shown_as_written():
    assert "[red]x[/] :smile: 👩\u200d💻" in shown(screen.viewer_line("a", "[red]x[/] :smile: 👩\u200d💻"))[0]
