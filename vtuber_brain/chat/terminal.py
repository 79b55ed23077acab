"""A terminal in which somebody types while something is printed: the line being typed always stays last and whole.

With a pipe instead of a keyboard it just reads lines. It knows nothing of chat.
"""

import asyncio
import codecs
import contextlib
import os
import termios
import threading
import tty
from collections.abc import Iterator

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

MAX_LINES = 64
ERASE = "\r\x1b[K"
_BACKSPACE, _CTRL_D, _CTRL_U, _CTRL_W, _ESCAPE = "\x7f\b", "\x04", "\x15", "\x17", "\x1b"


class LineEditor:
    """What has been typed so far. Pure: bytes in, finished lines out; knows backspace, ctrl-U, -W and -D.

    Keys that send escape sequences are ignored, also when a sequence is torn between two reads.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sequence = ""
        self.text = ""
        self.ended = False

    def feed(self, data: bytes) -> list[str]:
        """Take bytes as they were read, b"" at the end; returns the lines they finish."""
        keys = self._decoder.decode(data, final=not data)
        lines = [line for char in keys if (line := self._key(char)) is not None]
        if not data:
            self.ended = True
        if self.ended and self.text:
            lines.append(self._finish())
        return lines

    def _key(self, char: str) -> str | None:
        if self._in_sequence(char):
            return None
        if char in "\r\n":
            return self._finish()
        if char in _BACKSPACE:
            self.text = self.text[:-1]
        elif char == _CTRL_U:
            self.text = ""
        elif char == _CTRL_W:
            self.text = self.text.rstrip().rpartition(" ")[0]
        elif char == _CTRL_D:
            self.ended = self.ended or not self.text
        elif char.isprintable() or char == "\u200d":  # joins emoji
            self.text += char
        return None

    def _in_sequence(self, char: str) -> bool:
        """Whether `char` belongs to an escape sequence: ESC, then a letter, or [ or O and all up to a letter or ~."""
        if char == _ESCAPE:
            self._sequence = char
            return True
        if not self._sequence:
            return False
        opens = self._sequence == _ESCAPE and char in "[O"
        self._sequence = self._sequence + char if opens or not (char.isalpha() or char == "~") else ""
        return True

    def _finish(self) -> str:
        line, self.text = self.text, ""
        return line


class Terminal:
    """Lines from `stdin` (a file descriptor), output through `console`; made by `open_terminal`.

    Once MAX_LINES lines wait to be taken, nothing more is read until there is room.
    """

    def __init__(self, console: Console, stdin: int) -> None:
        self.interactive = os.isatty(stdin) and console.is_terminal
        self.prompt = Text()
        self._console, self._stdin = console, stdin
        self._editor = LineEditor()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._room = threading.Event()

    async def line(self) -> str | None:
        """The next line, without its end; None when there are no more. Being cancelled loses none."""
        line = await self._lines.get()
        self._make_room()
        return line

    def print(self, *rows: RenderableType) -> None:
        """Print above the line being typed."""
        self._erase()
        for row in rows:
            self._console.print(row)
        self.redraw()

    def redraw(self) -> None:
        """Draw the line being typed anew, as much of its end as fits."""
        if not self.interactive:
            return
        self._erase()
        room = self._console.width - self.prompt.cell_len - 2
        typed = self._editor.text
        while cell_len(typed) > room:
            typed = typed[1:]
        self._console.print(self.prompt, typed, sep="", end="", markup=False, highlight=False, soft_wrap=True)

    def start(self) -> None:
        """Begin to read, in a thread: a pipe, a file and a keyboard can all be waited for only there."""
        threading.Thread(target=self._read, name="terminal", daemon=True).start()

    def _erase(self) -> None:
        if self.interactive:
            self._console.file.write(ERASE)

    def _read(self) -> None:
        data = b"more"
        while data:
            try:
                data = os.read(self._stdin, 4096)
            except OSError:  # a terminal that went away
                data = b""
            self._room.clear()
            try:
                self._loop.call_soon_threadsafe(self._typed, data)
            except RuntimeError:  # the loop has closed meanwhile
                return
            self._room.wait()

    def _typed(self, data: bytes) -> None:
        for line in self._editor.feed(data):
            self._lines.put_nowait(line)
        if self._editor.ended:
            self._lines.put_nowait(None)
        self.redraw()
        self._make_room()

    def _make_room(self) -> None:
        if self._lines.qsize() < MAX_LINES:
            self._room.set()


@contextlib.contextmanager
def open_terminal(console: Console, stdin: int) -> Iterator[Terminal]:
    """A terminal that reads `stdin`; echo and line editing are ours meanwhile, and as they were afterwards."""
    terminal = Terminal(console, stdin)
    if not terminal.interactive:
        terminal.start()
        yield terminal
        return
    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)
    try:
        terminal.start()
        yield terminal
    finally:
        console.file.write(ERASE)
        console.file.flush()
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
