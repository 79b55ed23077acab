"""Examples and what was left out as the bytes of files, the same bytes for the same values; and back. Opens nothing."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from vtuber_brain.retrain.conversations import Message
from vtuber_brain.retrain.curate import Curated
from vtuber_brain.retrain.rows import Example


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


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
