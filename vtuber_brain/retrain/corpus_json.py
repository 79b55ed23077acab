"""JSON as a corpus may be written: one value a line, or one array. Stricter than the standard library's reader.

NaN, Infinity, a key given twice and what is nested too deeply are complained of, each by its name.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vtuber_brain.errors import CorpusError
from vtuber_brain.retrain.corpus_checks import MAX_ARRAY_BYTES, MAX_DEPTH, Complaints, refused
from vtuber_brain.retrain.corpus_files import Record, lines, unpacked

_BLANK = " \t\r\n"


def is_over_lines(start: str) -> bool:
    """Whether a file that begins so has a JSON object which is written over several lines."""
    begin = start.lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(begin)
    except (ValueError, RecursionError):
        return begin.partition("\n")[0].strip() == "{"
    return "\n" in begin[:end]


def json_lines(path: Path, complaints: Complaints) -> Iterator[Record]:
    """The value of every line that is not blank."""
    reader = _Reader()
    for line in lines(path, complaints):
        if not line.text.strip():
            continue
        try:
            data = reader.read_all(line.text)
        except ValueError as error:
            complaints.add("not_json" if line.ended else "torn_row", line.number, "line", str(error))
            continue
        if reader.wrong:
            complaints.add(reader.wrong, line.number, "line")
        else:
            yield Record(line.number, data)


def json_array(path: Path, complaints: Complaints) -> Iterator[Record]:
    """The values of one array, one after the other. The text of the whole file is held in memory.

    Raises CorpusError at the first that is not JSON, for where the next one begins cannot be known.
    """
    array = _Array(path, _text(path))
    reader = _Reader()
    while array.has_more():
        try:
            data, array.at = reader.read(array.text, array.at)
        except ValueError as error:
            raise array.error("not_json", str(error)) from None
        if reader.wrong:
            complaints.add(reader.wrong, array.line, "array")
        else:
            yield Record(array.line, data)


class _Array:
    """Where the reading of an array stands: `at` in its text, and the line on which its present value begins."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self.text = path, text
        self.at = _after(text, 0) + 1
        self.line, self._counted, self._is_first = 1, 0, True

    def has_more(self) -> bool:
        """Go on to the next value, if there is one. Raises CorpusError where neither it nor the end follows."""
        self._move()
        mark = self.text[self.at : self.at + 1]
        if mark == "]":
            self._end()
            return False
        if not self._is_first:
            if mark != ",":
                raise self.error("not_json", "neither comma nor ] after a row")
            self.at += 1
            self._move()
        elif not mark:
            raise self.error("torn_row")
        self._is_first = False
        return True

    def error(self, code: str, detail: str = "") -> CorpusError:
        """What is wrong at the present value; whatever it is, a file without its last ] is torn."""
        code = code if self.text.rstrip().endswith("]") else "torn_row"
        return refused(str(self._path), code, self.line, "array", detail)

    def _move(self) -> None:
        self.at = _after(self.text, self.at)
        self.line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at

    def _end(self) -> None:
        self.at += 1
        self._move()
        if self.at < len(self.text):
            raise refused(str(self._path), "after_array", self.line, "file")


class _Reader:
    """Reads one value at a time; `wrong` is the code of what was wrong with the last, beside its grammar."""

    def __init__(self) -> None:
        self.wrong: str | None = None
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def read(self, text: str, at: int) -> tuple[Any, int]:
        """The value that begins at `at`, and where it ends. Raises ValueError where there is none."""
        self.wrong = None
        try:
            data, end = self._decoder.raw_decode(text, at)
        except RecursionError:
            self.wrong = "too_deep"
            return None, len(text)
        self.wrong = self.wrong or _wrong(data)
        return data, end

    def read_all(self, text: str) -> Any:
        """The one value that `text` is. Raises ValueError where it is none, or not only one."""
        data, end = self.read(text, _after(text, 0))
        if _after(text, end) < len(text):
            raise ValueError("more than one value on the line")
        return data

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self.wrong = "duplicate_key"
        return found


def _wrong(data: Any) -> str | None:
    """The code of what JSON allows and we do not, None where there is nothing of it."""
    level = [data]
    for _ in range(MAX_DEPTH):
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            return "nan"
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return None
    return "too_deep"


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _after(text: str, at: int) -> int:
    """The first place from `at` on that is not blank."""
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _text(path: Path) -> str:
    with unpacked(path) as file:
        raw = file.read(MAX_ARRAY_BYTES + 1)
    if len(raw) > MAX_ARRAY_BYTES:
        raise refused(str(path), "array_too_large", 0, "file")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refused(str(path), "not_utf8", raw.count(b"\n", 0, error.start) + 1, "file") from None
