"""Typing and printing at once: no key is lost, no line is torn, and the terminal is left as it was found."""

import asyncio
import itertools
import os
import pty
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from tests.chat.paper import Paper
from vtuber_brain.chat.terminal import ERASE, LineEditor, open_terminal


def typed(*chunks: bytes) -> tuple[list[str], str]:
    editor = LineEditor()
    return [line for chunk in chunks for line in editor.feed(chunk)], editor.text


class TestLineEditor:
    @pytest.mark.parametrize(
        ("chunks", "lines", "rest"),
        [
            ([b"hi\n"], ["hi"], ""),
            ([b"hi\rthere\n"], ["hi", "there"], ""),
            ([b"h", b"i", b"\n", b"yo"], ["hi"], "yo"),
            ([b"helo\x7flo\n"], ["hello"], ""),
            ([b"\x7f\x7f\x08"], [], ""),
            ([b"wrong\x15right\n"], ["right"], ""),
            ([b"one two\x17three\n"], ["onethree"], ""),
            ([b"one two  \x17\x17three\n"], ["three"], ""),
            ([b"a\x1b[Ab\x1b[1;5Cc\x1bOPd\n"], ["abcd"], ""),
            ([b"a\x1b", b"[", b"3", b"~b\n"], ["ab"], ""),
            ([b"a\x07\x00\tb\n"], ["ab"], ""),
            (["é👻".encode()[:1], "é👻".encode()[1:4], "é👻".encode()[4:], b"\n"], ["é👻"], ""),
            ([b"\xff\n"], ["\ufffd"], ""),
            (["👩\u200d💻\n".encode()], ["👩\u200d💻"], ""),
        ],
    )
    def test_keys(self, chunks, lines, rest):
        assert typed(*chunks) == (lines, rest)

    def test_the_end_finishes_the_last_line(self):
        editor = LineEditor()
        assert editor.feed(b"one\ntwo") == ["one"]
        assert editor.feed(b"") == ["two"]
        assert editor.ended

    def test_ctrl_d_ends_only_on_an_empty_line(self):
        editor = LineEditor()
        editor.feed(b"half\x04")
        assert not editor.ended
        editor.feed(b"\x15\x04")
        assert editor.ended

    @given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
    def test_how_the_bytes_are_cut_makes_no_difference(self, data, cuts):
        places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
        chunks = [data[a:b] for a, b in itertools.pairwise(places) if data[a:b]]
        assert typed(*chunks) == typed(*([data] if data else []))


class TestPipe:
    async def test_lines_come_one_by_one_and_then_none(self):
        reading, writing = os.pipe()
        os.write(writing, "one\nzwei ✓\n\nlast".encode())
        os.close(writing)
        paper = Paper(is_terminal=False)
        with open_terminal(paper.console, reading) as terminal:
            assert not terminal.interactive
            async with asyncio.timeout(10):
                assert [await terminal.line() for _ in range(5)] == ["one", "zwei ✓", "", "last", None]
        os.close(reading)
        assert paper.getvalue() == ""

    async def test_a_regular_file(self, tmp_path):
        path = tmp_path / "lines.txt"
        path.write_text("".join(f"{n}\n" for n in range(500)))
        with path.open() as file, open_terminal(Paper(is_terminal=False).console, file.fileno()) as terminal:
            async with asyncio.timeout(10):
                assert [await terminal.line() for _ in range(501)] == [*(str(n) for n in range(500)), None]

    async def test_printing_needs_no_prompt(self):
        reading, writing = os.pipe()
        paper = Paper(is_terminal=False)
        with open_terminal(paper.console, reading) as terminal:
            terminal.prompt = Text("kopi > ")
            terminal.print(Text("hello"))
            os.close(writing)
            async with asyncio.timeout(10):
                assert await terminal.line() is None
        os.close(reading)
        assert paper.getvalue() == "hello\n"


class TestKeyboard:
    @pytest.fixture
    def keyboard(self):
        """The two ends of a terminal: ours to press keys, theirs to read them."""
        ours, theirs = pty.openpty()
        yield ours, theirs
        os.close(ours)
        os.close(theirs)

    async def test_the_line_being_typed_survives_what_is_printed(self, keyboard):
        ours, theirs = keyboard
        paper = Paper()
        with open_terminal(paper.console, theirs) as terminal:
            assert terminal.interactive
            terminal.prompt = Text("kopi > ")
            terminal.redraw()
            os.write(ours, b"hel")
            await paper.shows("kopi > hel")
            terminal.print(Text("somebody else speaks"))
            assert paper.getvalue().endswith(f"{ERASE}somebody else speaks\n{ERASE}kopi > hel")
            os.write(ours, b"lo\n")
            async with asyncio.timeout(10):
                assert await terminal.line() == "hello"
        assert paper.getvalue().endswith(ERASE)

    async def test_a_long_line_shows_its_end(self, keyboard):
        ours, theirs = keyboard
        paper = Paper(width=20)
        with open_terminal(paper.console, theirs) as terminal:
            terminal.prompt = Text("> ")
            os.write(ours, "0123456789abcdefg漢字".encode())
            await paper.shows("字")
            last = paper.getvalue().rsplit(ERASE, 1)[1]
            assert last == "> 56789abcdefg漢字"
            os.write(ours, b"\n")
            async with asyncio.timeout(10):
                assert await terminal.line() == "0123456789abcdefg漢字"

    async def test_the_terminal_is_left_as_it_was_found(self, keyboard):
        _, theirs = keyboard
        before = termios.tcgetattr(theirs)
        with pytest.raises(ValueError, match="mine"), open_terminal(Paper().console, theirs):
            assert not termios.tcgetattr(theirs)[3] & (termios.ECHO | termios.ICANON)
            assert termios.tcgetattr(theirs)[3] & termios.ISIG, "ctrl-C stays ctrl-C"
            raise ValueError("mine")
        assert termios.tcgetattr(theirs) == before

    async def test_a_terminal_that_goes_away_is_the_end(self):
        ours, theirs = pty.openpty()
        with open_terminal(Paper(is_terminal=False).console, theirs) as terminal:
            os.close(ours)
            async with asyncio.timeout(10):
                assert await terminal.line() is None
        os.close(theirs)
