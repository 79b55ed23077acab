"""The bytes of a corpus, plain or gzip, as lines and as rows of CSV, piece by piece and in bounded memory.

A line that is wrong goes to the complaints and is left out; where the file as a whole is, CorpusError is raised.
"""

import codecs
import contextlib
import csv
import gzip
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

from vtuber_brain.retrain.corpus_checks import MAX_LINE_BYTES, Complaints, refused

HEAD_BYTES = 64 * 1024
_GZIP = b"\x1f\x8b"
_SIGNATURES = (b"PAR1", b"ARROW1", b"SQLite format 3", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"BZh", b"\xfd7zXZ")
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DELIMITERS = ",;\t"
_JSON_LINES = frozenset({".jsonl", ".ndjson"})

Container = Literal["lines", "array", "csv", "text"]
Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text without its end; `ended` is false where the file stops before the line does."""

    number: int
    text: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Record:
    """One value of a JSON file, or one row of a CSV file by its columns, and the line it begins on."""

    line: int
    data: Any


def signature(path: Path) -> Signature:
    """What changes when the file does."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise refused(str(path), "missing_file", 0, "path") from None
    except PermissionError:
        raise refused(str(path), "no_permission", 0, "path") from None
    except (OSError, ValueError) as error:
        raise refused(str(path), "unreadable", 0, "path", str(error)) from None
    if stat.S_ISDIR(found.st_mode):
        raise refused(str(path), "directory", 0, "path")
    if not stat.S_ISREG(found.st_mode):
        raise refused(str(path), "not_a_file", 0, "path")
    return found.st_ino, found.st_size, found.st_mtime_ns


def head(path: Path) -> str:
    """The beginning of the file, which is text and not empty."""
    with unpacked(path) as file:
        start = file.read(HEAD_BYTES)
    if start.startswith(_MARKS):
        raise refused(str(path), "bom", 1, "file")
    if start.startswith(_SIGNATURES) or b"\0" in start:
        raise refused(str(path), "binary", 1, "file")
    if not start.strip():
        raise refused(str(path), "empty_file", 0, "file")
    return start.decode("utf-8", errors="ignore")


def container(path: Path, start: str) -> Container:
    """How the rows are laid out, by how the file begins; its name decides where that leaves a doubt."""
    names = {suffix.lower() for suffix in path.suffixes}
    begin = start.lstrip()
    is_json = ".json" in names or bool(names & _JSON_LINES)
    if begin.startswith("["):
        inner = begin[1:].lstrip()[:1]
        if inner == "{" or (is_json and not names & _JSON_LINES):
            return "array"
    if is_json or begin.startswith("{"):
        return "lines"
    return "csv" if names & {".csv", ".tsv"} else "text"


def lines(path: Path, complaints: Complaints) -> Iterator[Line]:
    """Every line that is UTF-8 and not too long."""
    number = 0
    with unpacked(path) as file:
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(raw) > MAX_LINE_BYTES:
                complaints.add("line_too_long", number, "line")
                _skip_line(file, raw)
                continue
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                complaints.add("not_utf8", number, "line", f"byte {error.start + 1} is 0x{raw[error.start]:02x}")
                continue
            yield Line(number, text.rstrip("\r\n"), raw.endswith(b"\n"))


def csv_rows(path: Path, complaints: Complaints) -> Iterator[Record]:
    """Every row by the names of its columns; comma, semicolon or tab, whichever the first line has most of."""
    read = _Numbered(path, lines(path, complaints))
    first = next(read, "")
    delimiter = max(_DELIMITERS, key=first.count)
    columns = _columns(first, delimiter)
    if len(set(columns)) != len(columns) or not all(columns):
        raise refused(str(path), "csv_header", 1, "header")
    rows = csv.reader(read, delimiter=delimiter, strict=True)
    while True:
        begin = read.number + 1
        try:
            values = next(rows, None)
        except csv.Error as error:
            raise refused(str(path), "csv_quote", begin, "row", str(error)) from None
        if values is None:
            return
        if len(values) == len(columns):
            yield Record(begin, dict(zip(columns, values, strict=True)))
        elif values:
            complaints.add("csv_width", begin, "row", f"{len(values)} for {len(columns)}")


def _columns(header: str, delimiter: str) -> list[str]:
    """The columns' names; one that is empty where the line is no header."""
    try:
        return [name.strip() for name in next(csv.reader([header], delimiter=delimiter, strict=True), [""])]
    except csv.Error:
        return [""]


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where they are gzip, whatever the name says."""
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if is_packed else raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise refused(str(path), "gzip", 0, "file", str(error)) from None
    except PermissionError:
        raise refused(str(path), "no_permission", 0, "path") from None
    except OSError as error:
        raise refused(str(path), "unreadable", 0, "path", error.strerror or str(error)) from None


class _Numbered:
    """The texts of lines, with their ends, and the number of the last one given."""

    def __init__(self, path: Path, read: Iterator[Line]) -> None:
        self._path, self._read, self.number = str(path), read, 0

    def __iter__(self) -> "_Numbered":
        return self

    def __next__(self) -> str:
        line = next(self._read)
        if line.number != self.number + 1:
            raise refused(self._path, "csv_gap", self.number + 1, "line")
        self.number = line.number
        return line.text + "\n"


def _skip_line(file: IO[bytes], part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = file.readline(MAX_LINE_BYTES)
