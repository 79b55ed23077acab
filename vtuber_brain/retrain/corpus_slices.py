"""Slices of a corpus as the `datasets` library writes them: `[:4096]`, `[10%:20%]`, `[-100:]`, `train[:50%]`. Pure."""

import re
from dataclasses import dataclass
from pathlib import Path

_SLICE = re.compile(r"(?P<name>[\w.-]*)(?:\[(?P<start>-?\d{1,15}%?)?:(?P<stop>-?\d{1,15}%?)?\])?", re.ASCII)
_APPENDED = re.compile(r"(?P<path>.*?)(?P<slice>\[[^\[\]/]*\])", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows `start` to before `stop` (None: from the first, to the last; negative: from the end), of the split `name`.

    With `percent` both are percents of the rows, rounded to the nearest row, half to even as `datasets` does.
    """

    name: str = ""
    start: int | None = None
    stop: int | None = None
    percent: bool = False

    def bounds(self, num_rows: int) -> tuple[int, int]:
        """First row and the one after the last. Raises ValueError with what was expected where there are no such."""
        start = 0 if self.start is None else self._row(self.start, num_rows)
        stop = num_rows if self.stop is None else self._row(self.stop, num_rows)
        if start >= stop:
            raise ValueError(f"at least one row, of {num_rows}")
        return start, stop

    def _row(self, bound: int, num_rows: int) -> int:
        whole, unit = (100, "percent") if self.percent else (num_rows, "rows")
        if abs(bound) > whole:
            raise ValueError(f"bounds from {-whole} to {whole} {unit}")
        row = round(bound * num_rows / 100) if self.percent else bound
        return row + num_rows if bound < 0 else row


def parse_slice(text: str) -> Slice:
    """`[a:b]`, `name[a:b]` or `name`. Raises ValueError with what was expected."""
    found = _SLICE.fullmatch(text.strip())
    if found is None or not text.strip():
        raise ValueError("a slice such as [:4096], [10%:20%] or train[:4096]")
    name, start, stop = found.group("name", "start", "stop")
    units = {bound.endswith("%") for bound in (start, stop) if bound}
    if len(units) > 1:
        raise ValueError("rows or percents, not both in one slice")
    return Slice(name, _number(start), _number(stop), units == {True})


def split_path(text: str) -> tuple[Path, str | None]:
    """A path and the slice written after it, None without one. A file that is really called so is no slice."""
    found = _APPENDED.fullmatch(text)
    if found is None or not found["path"] or _exists(Path(text)):
        return Path(text), None
    return Path(found["path"]), found["slice"]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long, a folder that may not be searched
        return False


def _number(bound: str | None) -> int | None:
    return int(bound.removesuffix("%")) if bound else None
