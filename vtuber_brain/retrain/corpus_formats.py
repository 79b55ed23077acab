"""The formats a corpus may have: how a row shows which it is, and what it says. Pure; complains through its place.

A file has one format, that of its first row that shows any.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from vtuber_brain.retrain.conversations import Message
from vtuber_brain.retrain.corpus_checks import Place, check_messages, check_order, check_words, spoken
from vtuber_brain.retrain.turns import exchange, persona_of, read_turn, stranger
from vtuber_brain.sections import PersonaSettings

Fields = Mapping[str, Any]
Said = tuple[Message, ...] | str | None
_FIELD = re.compile(r"[A-Za-z_][\w -]{0,63}")


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write a row: whether it is this one, what it says, and the fields that are not its `meta`."""

    shows: Callable[[Fields], bool]
    read: Callable[[Fields, Place], Said]
    fields: frozenset[str]


class Template:
    """A text with named fields, such as `{speaker}: {line}`, filled with each row's."""

    def __init__(self, text: str) -> None:
        """Raises ValueError with the code of what is wrong."""
        try:
            parts = list(Formatter().parse(text))
        except ValueError:
            raise ValueError("template_malformed") from None
        if any(name is not None and (not _FIELD.fullmatch(name) or spec or how) for _, name, spec, how in parts):
            raise ValueError("template_malformed")
        self._parts = [(literal, name) for literal, name, _, _ in parts]
        self.fields = frozenset(name for _, name in self._parts if name is not None)
        if not self.fields:
            raise ValueError("template_no_fields")

    def fill(self, row: Fields, place: Place) -> Said:
        """The text of one row; a field that is missing or holds no words is complained of."""
        for name in sorted(self.fields):
            if name not in row:
                place.add("missing_field", name)
            elif isinstance(row[name], bool) or not isinstance(row[name], str | int | float):
                place.add("content_not_text", name)
        if place.is_bad:
            return None
        text = "".join(literal + (str(row[name]).strip() if name else "") for literal, name in self._parts)
        return _whole(text, "template", place)


def format_of(row: Fields) -> str | None:
    """The name of the format that `row` shows; None where it shows none."""
    return next((name for name, one in FORMATS.items() if one.shows(row)), None)


def _whole(value: Any, field: str, place: Place) -> str | None:
    message = spoken("user", value, field, place)
    return message.content if message else None


def _in_order(messages: list[Message], field: str, place: Place) -> Said:
    if not place.is_bad:
        check_order(messages, field, place)
    return tuple(messages)


def _read_text(row: Fields, place: Place) -> Said:
    return _whole(row.get("text"), "text", place) if _has(row, ("text",), place) else None


def _read_messages(row: Fields, place: Place) -> Said:
    return _in_order(check_messages(row.get("messages"), "messages", place), "messages", place)


def _read_sharegpt(row: Fields, place: Place) -> Said:
    messages = check_messages(row.get("conversations"), "conversations", place)
    return _in_order([*_system(row, place), *messages], "conversations", place)


def _read_trl(row: Fields, place: Place) -> Said:
    """The completion is learnt, the prompt is not."""
    before = [
        Message(message.role, message.content, 0.0 if message.role == "assistant" else message.weight)
        for message in check_messages(row.get("prompt"), "prompt", place)
    ]
    return _in_order([*before, *check_messages(row.get("completion"), "completion", place)], "completion", place)


def _read_pairs(row: Fields, place: Place) -> Said:
    return _pair(row, "input", "output", place)


def _read_completion(row: Fields, place: Place) -> Said:
    return _pair(row, "prompt", "completion", place)


def _read_alpaca(row: Fields, place: Place) -> Said:
    """An `input` that is not empty stands below the instruction."""
    more = row.get("input")
    if more is not None and not isinstance(more, str):
        place.add("content_not_text", "input")
    elif more and isinstance(row.get("instruction"), str):
        row = {**row, "instruction": f"{row['instruction'].strip()}\n{more.strip()}"}
    return _pair(row, "instruction", "output", place)


def _pair(row: Fields, asked: str, answered: str, place: Place) -> Said:
    if not _has(row, (asked, answered), place):
        return None
    said = [spoken("user", row[asked], asked, place), spoken("assistant", row[answered], answered, place)]
    return _in_order([*_system(row, place), *(message for message in said if message)], answered, place)


def _read_turns(row: Fields, place: Place) -> Said:
    """One exchange of a transcript; what was taken back, denied or not heard is left out."""
    try:
        turn = read_turn(row)
    except ValueError as error:
        field, _, what = str(error).partition(": ")
        place.add("turn_shape", field or "row", what)
        return None
    place.left_out = turn.left_out
    if turn.left_out:
        return None
    messages = exchange(turn, persona_of(turn.persona, PersonaSettings()) or stranger(turn.persona))
    for message, field in zip(messages, ("message.text", "reply.heard_text"), strict=True):
        check_words(message.content, field, place)
    return messages


def _has(row: Fields, names: tuple[str, ...], place: Place) -> bool:
    missing = [name for name in names if name not in row]
    for name in missing:
        place.add("missing_field", name)
    return not missing


def _system(row: Fields, place: Place) -> list[Message]:
    if not row.get("system"):
        return []
    message = spoken("system", row["system"], "system", place)
    return [message] if message else []


def _format(read: Callable[[Fields, Place], Said], needed: str, more: str = "") -> Format:
    names = frozenset(needed.split())
    return Format(lambda row: names <= row.keys(), read, names | frozenset(more.split()) | {"id"})


FORMATS: Mapping[str, Format] = {
    "openai": _format(_read_messages, "messages"),
    "sharegpt": _format(_read_sharegpt, "conversations", "system"),
    "trl": Format(
        lambda row: isinstance(row.get("prompt"), list) and "completion" in row,
        _read_trl,
        frozenset({"prompt", "completion", "id"}),
    ),
    "completion": _format(_read_completion, "prompt completion", "system"),
    "alpaca": _format(_read_alpaca, "instruction output", "input system"),
    "pairs": _format(_read_pairs, "input output", "system"),
    "turns": Format(
        lambda row: {"reply", "reply_id"} <= row.keys(),
        _read_turns,
        frozenset({"message", "verdict", "reply", "timings_ms", "at"}),
    ),
    "texts": _format(_read_text, "text"),
}
"""By name; of those that a row shows, the first is taken."""
