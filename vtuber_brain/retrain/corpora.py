"""Reading a corpus: any file of conversations or text that people train on, checked as a whole before a row is given.

The file is read once to check it and once whenever its rows are asked for, and is not held in memory.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtuber_brain.errors import CorpusError
from vtuber_brain.retrain.conversations import Conversation, Row, Text
from vtuber_brain.retrain.corpus_checks import Complaints, Place, check_words, refused
from vtuber_brain.retrain.corpus_files import Container, Record, Signature, container, csv_rows, head, lines, signature
from vtuber_brain.retrain.corpus_formats import FORMATS, Said, Template, format_of
from vtuber_brain.retrain.corpus_json import is_over_lines, json_array, json_lines
from vtuber_brain.retrain.corpus_slices import Slice, parse_slice, split_path

MAX_PARAGRAPH_CHARS = 16_384
END_OF_TEXT = "<|endoftext|>"
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".txt")
FORMAT_NAMES = (*FORMATS, "csv", "text")


@dataclass(frozen=True, slots=True)
class Corpus:
    """A file that was found in order: of its `num_good` good rows those from `start` to before `stop`.

    `skipped` counts what was wrong with rows that were skipped, `left_out` turns of transcripts that nothing is learnt
    from, both by code. Iterating reads the file, and raises CorpusError when it was changed since it was checked.
    """

    path: Path
    format: str
    start: int
    stop: int
    num_good: int
    skipped: Mapping[str, int]
    left_out: Mapping[str, int]
    _reading: "_Reading"

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Row]:
        yield from itertools.islice(self._reading.again(), self.start, self.stop)
        self._reading.check_unchanged()


def read_corpus(
    path: Path | str,
    *,
    template: str | None = None,
    slice: str | None = None,  # noqa: A002 - the word of `datasets`
    format: str | None = None,  # noqa: A002 - the word of the option
    skip_bad: bool = False,
) -> Corpus:
    """The corpus at `path`, which may end in a slice (`mori.jsonl[:4096]`); `slice` says the same apart.

    `template` makes one text of each row's fields; `format` is one of FORMAT_NAMES (None: by content). Raises
    CorpusError with every problem of the file; with `skip_bad` bad rows are left out and counted, and it is raised only
    for what is wrong with the file as a whole.
    """
    whole, appended = split_path(str(path))
    complaints = Complaints(str(whole))
    part, filled = Slice(), None
    try:
        part = parse_slice((appended or "") + (slice or "")) if slice or appended else part
    except ValueError as error:
        complaints.add("slice_malformed", 0, "slice", str(error))
    try:
        filled = Template(template) if template is not None else None
    except ValueError as error:
        complaints.add(str(error), 0, "template")
    if format is not None and format not in FORMAT_NAMES:
        complaints.add("unknown_format", 0, "format", ", ".join(FORMAT_NAMES))
    if complaints.total:
        raise CorpusError(complaints.shown)
    return _checked(_Reading(*_found(whole, part), filled, format), part, skip_bad=skip_bad)


class _Reading:
    """How a file is read, and what was found wrong with it."""

    def __init__(self, path: Path, mark: Signature, template: Template | None, wanted: str | None) -> None:
        self.path, self._mark, self._template, self._wanted = path, mark, template, wanted
        self._layout = _layout(path, wanted)
        self.format = "text" if self._layout == "text" else wanted if wanted in FORMATS else None
        if template is not None and self.format in ("text", "turns"):
            raise refused(str(path), "template_unused", 0, "template")
        self.left_out: Counter[str] = Counter()

    def rows(self, complaints: Complaints) -> Iterator[Row]:
        """Every good row, from the first on; what is wrong with others goes to `complaints`. Raises CorpusError."""
        self.left_out.clear()
        ids: set[int] = set()
        for record in self._records(complaints):
            place = Place(complaints, record.line)
            row = self._row(record, ids, place)
            if place.left_out:
                self.left_out[place.left_out] += 1
            elif row is not None and not place.is_bad:
                yield row

    def again(self) -> Iterator[Row]:
        """The rows of a file that was checked."""
        self.check_unchanged()
        return self.rows(Complaints(str(self.path)))

    def check_unchanged(self) -> None:
        """Raises CorpusError when the file is not the one it was."""
        if signature(self.path) != self._mark:
            raise refused(str(self.path), "file_changed", 0, "file")

    def _records(self, complaints: Complaints) -> Iterator[Record]:
        read = {"lines": json_lines, "array": json_array, "csv": csv_rows, "text": _paragraphs}[self._layout]
        return read(self.path, complaints)

    def _row(self, record: Record, ids: set[int], place: Place) -> Row | None:
        data, source = record.data, str(self.path)
        if self._layout == "text":
            check_words(data, "text", place)
            return Text(f"{self.path.name}:{record.line}", source, record.line, data)
        if not isinstance(data, dict):
            place.add("data_type", "row")
            return None
        said = self._said(data, place)
        name = self._id(data, ids, place)
        if said is None:
            return None
        meta = {key: value for key, value in data.items() if key not in self._used()}
        if isinstance(said, str):
            return Text(name, source, record.line, said, meta)
        return Conversation(name, source, record.line, said, meta)

    def _said(self, data: Mapping[str, Any], place: Place) -> Said:
        if self._template is not None:
            return self._template.fill(data, place)
        shown = format_of(data)
        form = self.format = self.format or shown
        if form is None:
            place.add("unknown_format", "row", f"it has {', '.join(sorted(data)[:8]) or 'no fields'}")
            return None
        if shown not in (None, form) and not (self._wanted == form and FORMATS[form].shows(data)):
            place.add("mixed_formats", "row", f"{shown} in a file of {form}")
            return None
        return FORMATS[form].read(data, place)

    def _id(self, data: Mapping[str, Any], ids: set[int], place: Place) -> str:
        value = data.get("id")
        if self.format == "turns":
            value = f"{data.get('stream')}/{data.get('reply_id')}"
        if value is None:
            return f"{self.path.name}:{place.line}"
        if isinstance(value, bool) or not isinstance(value, str | int):
            place.add("id_type", "id")
            return ""
        if hash(str(value)) in ids:
            place.add("duplicate_id", "id", f"{str(value)[:40]!r} was there before")
        ids.add(hash(str(value)))
        return str(value)

    def _used(self) -> frozenset[str]:
        if self._template is not None:
            return self._template.fields | {"id"}
        return FORMATS[self.format].fields if self.format else frozenset()


def _checked(reading: _Reading, part: Slice, *, skip_bad: bool) -> Corpus:
    complaints = Complaints(str(reading.path))
    num_good, is_usable = 0, skip_bad
    try:
        num_good = sum(1 for _ in reading.rows(complaints))
    except CorpusError as error:
        complaints.include(error)
        is_usable = False
    if complaints.total and not is_usable:
        raise CorpusError(complaints.shown, complaints.counts)
    if not num_good:
        raise refused(str(reading.path), "empty_file", 0, "file", "none is left of those it has")
    try:
        start, stop = part.bounds(num_good)
    except ValueError as error:
        raise refused(str(reading.path), "slice_range", 0, "slice", str(error)) from None
    form = "template" if reading.format is None else reading.format
    skipped, left_out = dict(complaints.counts), dict(reading.left_out)
    return Corpus(reading.path, form, start, stop, num_good, skipped, left_out, reading)


def _found(path: Path, part: Slice) -> tuple[Path, Signature]:
    """The file meant: `path`, or the one of a split's name in the folder `path`, or `path` without its suffix."""
    try:
        mark = signature(path)
    except CorpusError as error:
        code = error.records[0].code
        stem = (
            {"directory": path / part.name, "missing_file": path}.get(code)
            if part.name or code != "directory"
            else None
        )
        for name in _with_suffixes(stem) if stem else ():
            if name.is_file():
                return name, signature(name)
        raise
    if part.name not in ("", "train", path.name.partition(".")[0]):
        raise refused(str(path), "slice_range", 0, "slice", "one file is one split, train")
    return path, mark


def _with_suffixes(stem: Path) -> Iterator[Path]:
    for suffix in SUFFIXES:
        yield stem.with_name(stem.name + suffix)
        yield stem.with_name(stem.name + suffix + ".gz")


def _layout(path: Path, wanted: str | None) -> Container:
    start = head(path)
    if wanted == "text":
        return "text"
    if wanted == "csv":
        return "csv"
    layout = container(path, start)
    if layout == "lines" and is_over_lines(start):
        raise refused(str(path), "json_over_lines", 1, "line")
    return "lines" if wanted and layout == "text" else layout


def _paragraphs(path: Path, complaints: Complaints) -> Iterator[Record]:
    """Texts between blank lines or marks of a text's end; a very long one is broken at the end of a line or a word."""
    first, kept, num_chars = 0, list[str](), 0
    for line in lines(path, complaints):
        text = line.text.rstrip()
        is_end = not text or text.strip() == END_OF_TEXT
        if kept and (is_end or num_chars + len(text) > MAX_PARAGRAPH_CHARS):
            yield Record(first, "\n".join(kept))
            kept, num_chars = [], 0
        if is_end:
            continue
        *pieces, text = _pieces(text)
        for piece in pieces:
            yield Record(line.number, piece)
        first = first if kept else line.number
        kept.append(text)
        num_chars += len(text)
    if kept:
        yield Record(first, "\n".join(kept))


def _pieces(text: str) -> list[str]:
    pieces = []
    while len(text) > MAX_PARAGRAPH_CHARS:
        cut = text.rfind(" ", 1, MAX_PARAGRAPH_CHARS)
        cut = MAX_PARAGRAPH_CHARS if cut < 0 else cut
        pieces.append(text[:cut])
        text = text[cut:].lstrip(" ")
    return [*pieces, text]
