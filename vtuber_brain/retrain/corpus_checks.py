"""What may be wrong with a corpus: every check by its code, and the checks of a conversation's messages.

The first seven are those of OpenAI's data preparation guide, under its names. Pure: reads no files.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vtuber_brain.errors import BadRecord, CorpusError
from vtuber_brain.retrain.conversations import Message, Role

MAX_SHOWN = 50
MAX_MESSAGE_CHARS = 32_768
MAX_DEPTH = 32
MAX_LINE_BYTES = 4 * 2**20
MAX_ARRAY_BYTES = 256 * 2**20

CHECKS: Mapping[str, str] = {
    "data_type": "a JSON object with the row's fields",
    "missing_messages_list": "a list of messages that is not empty",
    "message_missing_key": "a message with this key",
    "message_unrecognized_key": "no keys but role, content, name and weight",
    "unrecognized_role": "system, user or assistant (ShareGPT: system, human or gpt)",
    "missing_content": "words; it is empty",
    "example_missing_assistant_message": "at least one message of the assistant",
    "message_not_object": "a message, which is a JSON object",
    "empty_assistant": "an answer of the assistant; it is empty",
    "only_system": "messages of user and assistant, not only of the system",
    "assistant_first": "the user to speak before the assistant",
    "assistant_twice": "the user to speak between two messages of the assistant",
    "user_twice": "the assistant to speak between two messages of the user",
    "system_in_middle": "the system's message once, before all others",
    "content_not_text": "a string",
    "content_part": 'parts of the form {"type": "text", "text": "..."}',
    "tool_call": "words only; calls of tools and functions cannot be learnt",
    "weight_range": "a number from 0 to 1",
    "no_weight": "an assistant's message whose weight is above 0",
    "special_token": "no special token of a chat template in the words",
    "control_character": "no control characters in the words but line ends and tabs",
    "lone_surrogate": "characters that exist; half of a surrogate pair stands alone",
    "replacement_character": "no U+FFFD, which is left where a file was decoded wrongly before",
    "message_too_long": f"at most {MAX_MESSAGE_CHARS:,} characters",
    "duplicate_id": "an id that no earlier row has",
    "id_type": "a string or a whole number",
    "missing_field": "this field, which the format or the template names",
    "turn_shape": "a turn as `vtuber-brain transcripts export` writes it",
    "mixed_formats": "rows of one format in one file",
    "unknown_format": "one of the formats in docs/retrain.md",
    "template_malformed": "a template with plain named fields such as {speaker}; {{ and }} for braces",
    "template_no_fields": "at least one {field} in the template",
    "template_unused": "rows with fields; a template says nothing to plain text or transcripts",
    "slice_malformed": "a slice such as [:4096], [10%:20%] or train[:4096]",
    "slice_range": "a slice within the rows",
    "missing_file": "a file; there is none",
    "directory": "a file, not a folder; or a folder with the slice's name in it, such as train[:4096]",
    "not_a_file": "a plain file, not a pipe, device or socket",
    "no_permission": "a file that this user may read",
    "unreadable": "a file that can be read",
    "file_changed": "a file that stays as it is while it is read",
    "empty_file": "at least one row",
    "binary": "UTF-8 text; convert Parquet, Arrow, SQLite, zip, UTF-16 and the like first",
    "bom": "UTF-8 without a byte order mark; save the file anew without it",
    "gzip": "a whole gzip file; this one is damaged or cut short",
    "not_utf8": "UTF-8",
    "line_too_long": f"at most {MAX_LINE_BYTES:,} bytes a line",
    "array_too_large": f"a JSON array of at most {MAX_ARRAY_BYTES:,} bytes; use JSON lines",
    "torn_row": "a whole row; the file ends in the middle of one",
    "not_json": "JSON",
    "json_over_lines": "every JSON object on one line, or one array around them",
    "after_array": "nothing after the array",
    "nan": "numbers; NaN and Infinity are no JSON",
    "duplicate_key": "every key once",
    "too_deep": f"JSON of at most {MAX_DEPTH} levels",
    "csv_header": "a first line with the columns' names, each once",
    "csv_width": "as many values as the header has columns",
    "csv_gap": "every line of a CSV file to be in order, for a row may take several",
    "csv_quote": "quoted values that end where they should",
}
OPENAI_CHECKS = tuple(CHECKS)[:7]
_SPECIAL = re.compile(
    r"<\|[A-Za-z0-9_ ./-]{1,40}\|>|</?s>|<(?:bos|eos|pad|unk|mask)>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>"
    r"|<｜[^｜<>]{1,40}｜>"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_KEYS = frozenset({"role", "content", "name", "weight"})
_TOOL_KEYS = frozenset({"function_call", "tool_calls", "tool_call_id"})
_ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt"), "assistant"),
}
_TOOL_ROLES = frozenset({"tool", "function", "function_call", "observation"})


class Complaints:
    """What was found wrong in `file`: the first MAX_SHOWN in full, all of it counted by code."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.shown: list[BadRecord] = []
        self.counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def add(self, code: str, line: int, field: str, detail: str = "") -> None:
        """Note that something is wrong there; `detail` is put after what is expected."""
        self.counts[code] += 1
        if len(self.shown) < MAX_SHOWN:
            self.shown += refused(self.file, code, line, field, detail).records

    def include(self, error: CorpusError) -> None:
        """Note what was wrong with the whole file; it is always among those shown."""
        self.counts += Counter(error.counts)
        self.shown = [*self.shown[: MAX_SHOWN - len(error.records)], *error.records]


def refused(file: str, code: str, line: int, field: str, detail: str = "") -> CorpusError:
    """The error of one thing wrong, for raising where the rest of the file cannot be read."""
    expected = f"{CHECKS[code]} ({detail})" if detail else CHECKS[code]
    return CorpusError([BadRecord(code, file, line, field, expected)])


class Place:
    """One row, to complain about; `left_out` says why it teaches nothing although nothing is wrong with it."""

    def __init__(self, complaints: Complaints, line: int) -> None:
        self.line = line
        self.left_out: str | None = None
        self._complaints = complaints
        self._before = complaints.total

    @property
    def is_bad(self) -> bool:
        """Whether something was wrong since this place was made."""
        return self._complaints.total > self._before

    def add(self, code: str, field: str, detail: str = "") -> None:
        """Something is wrong here."""
        self._complaints.add(code, self.line, field, detail)


def check_messages(data: Any, field: str, place: Place) -> list[Message]:
    """The messages of the list `data` that are in order; what is not goes to `place`, `field` before its name."""
    if not isinstance(data, list) or not data:
        place.add("missing_messages_list", field)
        return []
    found = [_message(item, f"{field}[{index}]", place) for index, item in enumerate(data)]
    return [message for message in found if message is not None]


def check_order(messages: Sequence[Message], field: str, place: Place) -> None:
    """User and assistant in turn, the user first, the system's message before all; something to learn in it."""
    roles = [message.role for message in messages]
    if not roles:
        place.add("missing_messages_list", field)
        return
    for index, role in enumerate(roles[1:], 1):
        if role == "system":
            place.add("system_in_middle", f"{field}[{index}].role")
        elif role == roles[index - 1]:
            place.add(f"{role}_twice", f"{field}[{index}].role")
    spoken = [role for role in roles if role != "system"]
    if not spoken:
        place.add("only_system", field)
    elif "assistant" not in spoken:
        place.add("example_missing_assistant_message", field)
    elif spoken[0] == "assistant":
        place.add("assistant_first", f"{field}[{roles.index('assistant')}].role")
    if "assistant" in spoken and not any(m.weight > 0 for m in messages if m.role == "assistant"):
        place.add("no_weight", field)


def check_words(text: str, field: str, place: Place) -> None:
    """What may not stand in words to learn from, wherever they come from."""
    if len(text) > MAX_MESSAGE_CHARS:
        place.add("message_too_long", field, f"it has {len(text):,}")
    if token := _SPECIAL.search(text):
        place.add("special_token", field, f"it has {token[0]}")
    if control := _CONTROL.search(text):
        place.add("control_character", field, f"it has U+{ord(control[0]):04X}")
    if _SURROGATE.search(text):
        place.add("lone_surrogate", field)
    if "\ufffd" in text:
        place.add("replacement_character", field)


def spoken(role: Role, value: Any, field: str, place: Place, weight: float = 1.0) -> Message | None:
    """A message of `role` that says `value`, stripped; None where it cannot be said."""
    text = _text(value, field, place)
    if text is None:
        return None
    if not text.strip():
        place.add("empty_assistant" if role == "assistant" else "missing_content", field)
        return None
    text = text.replace("\r\n", "\n").strip()
    check_words(text, field, place)
    return Message(role, text, weight)


def _message(item: Any, field: str, place: Place) -> Message | None:
    if not isinstance(item, dict):
        place.add("message_not_object", field)
        return None
    if "from" in item or "value" in item:
        item = {{"from": "role", "value": "content"}.get(key, key): value for key, value in item.items()}
        role_field, content_field = f"{field}.from", f"{field}.value"
    else:
        role_field, content_field = f"{field}.role", f"{field}.content"
    _check_keys(item, field, place)
    for key, name in (("role", role_field), ("content", content_field)):
        if key not in item and not _TOOL_KEYS & item.keys():
            place.add("message_missing_key", name)
    role = _role(item["role"], role_field, place) if "role" in item else None
    weight = _weight(item.get("weight"), f"{field}.weight", place)
    if "content" not in item:
        return None
    message = spoken(role or "user", item["content"], content_field, place, weight)
    return _named(message, item.get("name"), f"{field}.name", place) if role and message else None


def _check_keys(item: Mapping[str, Any], field: str, place: Place) -> None:
    for key in sorted(item.keys() - _KEYS):
        if key in _TOOL_KEYS:
            place.add("tool_call", f"{field}.{key}")
        else:
            place.add("message_unrecognized_key", f"{field}.{key}")


def _role(value: Any, field: str, place: Place) -> Role | None:
    name = value if isinstance(value, str) else ""
    if name not in _ROLES:
        place.add("tool_call" if name in _TOOL_ROLES else "unrecognized_role", field)
    return _ROLES.get(name)


def _weight(value: Any, field: str, place: Place) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        place.add("weight_range", field)
        return 1.0
    return float(value)


def _named(message: Message, name: Any, field: str, place: Place) -> Message:
    """A user's name stands before what they say, as in her prompts."""
    if name is None or message.role != "user":
        return message
    if not isinstance(name, str):
        place.add("content_not_text", field)
        return message
    check_words(name, field, place)
    has_name = not name.strip() or message.content.startswith(f"{name.strip()}:")
    return message if has_name else Message(message.role, f"{name.strip()}: {message.content}", message.weight)


def _text(value: Any, field: str, place: Place) -> str | None:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if not isinstance(value, list):
        place.add("content_not_text", field)
        return None
    wrong = [index for index, part in enumerate(value) if not _is_text_part(part)]
    for index in wrong:
        place.add("content_part", f"{field}[{index}]")
    return None if wrong else "".join(part["text"] for part in value)


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
