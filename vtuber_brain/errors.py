"""Every exception of ours. An edge that may come back raises `Unavailable`; one that never will raises `Refused`.

BrainError
├── ConfigError        settings or files are wrong; carries every problem at once; exit 2
│   └── CorpusError    a corpus cannot be trained on; every bad record by code, file, line and field
├── RecordError        one record of an input file is wrong; names file, line and field; exit 2
├── Unavailable        not now: the host retries
│   ├── EngineDown     the worker is dead, starting or hung; requests in flight failed with it
│   └── JudgeDown      the classifier did not answer in time
├── Refused            not like this: the host stops that edge and tells the operator
│   ├── ModelRefused   a model that cannot be served, and why
│   └── LoraRejected   a lora that was not taken in, and why; what was there stays
├── RequestFailed      one engine request failed; the engine lives
└── WireError          bytes on a line that are not the protocol
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where it stands, what it is, and what to do about it."""

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.fix}"


class BrainError(Exception):
    """The root of everything this program raises on purpose."""


class ConfigError(BrainError):
    """The settings cannot be used; `problems` holds every reason found in one pass."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class BadRecord:
    """One thing wrong in a corpus: a stable code, the place (line 0: the file as a whole) and what belongs there."""

    code: str
    file: str
    line: int
    field: str
    expected: str

    def as_problem(self) -> Problem:
        """The same, to be shown like every other problem."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return Problem(f"{place}: {self.field}", self.code, f"Expected {self.expected}")


class CorpusError(ConfigError):
    """A corpus is not trained on; `records` are the first bad ones, `counts` says how many there are of each code."""

    def __init__(self, records: Sequence[BadRecord], counts: Mapping[str, int] | None = None) -> None:
        self.records = tuple(records)
        self.counts = dict(counts) if counts is not None else dict(Counter(record.code for record in records))
        problems = [record.as_problem() for record in self.records]
        more = sum(self.counts.values()) - len(problems)
        if more > 0:
            each = ", ".join(f"{code} {count}" for code, count in sorted(self.counts.items()))
            problems.append(Problem(self.records[0].file, f"{more} more like these", f"In all: {each}"))
        super().__init__(problems)


class RecordError(BrainError):
    """A record of an input file is not what was expected there."""

    def __init__(self, file: str, line: int, field: str, expected: str) -> None:
        super().__init__(f"{file}:{line}: {field}: {expected}")
        self.file, self.line, self.field, self.expected = file, line, field, expected


class Unavailable(BrainError):
    """Something outside cannot be reached at present."""


class EngineDown(Unavailable):
    """The engine as a whole is not answering."""


class JudgeDown(Unavailable):
    """The classifier is not answering; input falls back on the rules, output stays unspoken."""


class Refused(BrainError):
    """Something outside, or a file, was turned down for good."""


class ModelRefused(Refused):
    """A model cannot be served, for the reason given."""


class LoraRejected(Refused):
    """A lora was not taken in, for the reason given; what was there before stays."""


class RequestFailed(BrainError):
    """One request failed while the engine lives; `code` is stable, `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class WireError(BrainError):
    """A peer sent something that is not a message of the line's protocol."""
