"""What the steps of a night leave to the next as the bytes of files, the same for the same values; and back."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from pydantic import TypeAdapter

from vtuber_brain.retrain.conversations import Message
from vtuber_brain.retrain.curate import Curated
from vtuber_brain.retrain.gate import Verdict
from vtuber_brain.retrain.measures import Measured
from vtuber_brain.retrain.rows import Example

_MEASURED: TypeAdapter[Measured] = TypeAdapter(Measured)
_VERDICT: TypeAdapter[Verdict] = TypeAdapter(Verdict)


def packed(examples: Iterable[Example]) -> bytes:
    """One JSON line for each example."""
    return b"".join(_line({**asdict(one), "viewers": sorted(one.viewers)}) for one in examples)


def unpacked(content: bytes) -> list[Example]:
    """The examples of `packed`. Raises ValueError, KeyError or TypeError for bytes that are none."""
    return [
        Example(
            id=row["id"],
            group=row["group"],
            viewers=frozenset(row["viewers"]),
            messages=tuple(Message(**message) for message in row["messages"]),
            opening=row["opening"],
            at=row["at"],
        )
        for row in map(json.loads, content.splitlines())
    ]


def report(curated: Curated) -> bytes:
    """What was learnt and what was left out, in figures and one by one; no words of anybody's."""
    told = {
        "examples": len(curated.examples),
        "replies": len(curated.chosen),
        "approvals": curated.approvals,
        "reasons": curated.reasons,
        "chosen": [{"id": one.asked.id, "approval": one.approval} for one in curated.chosen],
        "left": [asdict(one) for one in curated.left],
    }
    return _line(told)


def packed_measured(measured: Measured) -> bytes:
    """JSON that also keeps numbers which are none."""
    return _page(_MEASURED.dump_python(measured))


def unpacked_measured(content: bytes) -> Measured:
    """Those of `packed_measured`. Raises ValueError."""
    return _MEASURED.validate_python(json.loads(content))


def packed_verdict(verdict: Verdict) -> bytes:
    """JSON that also keeps numbers which are none."""
    return _page(_VERDICT.dump_python(verdict))


def unpacked_verdict(content: bytes) -> Verdict:
    """That of `packed_verdict`. Raises ValueError."""
    return _VERDICT.validate_python(json.loads(content))


def _page(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
