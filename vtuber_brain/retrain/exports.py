"""Transcripts as a dataset for those who train elsewhere: OpenAI's, ShareGPT's and TRL's form. The files' form only.

A row is a conversation as her prompts have it: her opening, then exchanges one after the other. What was taken back,
denied or not heard is never in one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vtuber_brain.context.personas import Persona
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.retrain.conversations import Conversation, Message
from vtuber_brain.retrain.turns import beginning, exchange, persona_of, read_turn, stranger
from vtuber_brain.sections import PersonaSettings
from vtuber_brain.transcripts.export import export

WINDOW = 8
_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}

Rows = Iterator[dict[str, Any]]


def exported(
    path: Path,
    form: str,
    *,
    stream: int | None = None,
    retracted: bool = False,
    personas: PersonaSettings | None = None,
) -> Rows:
    """The transcripts at `path` as rows of `form`: `jsonl`, every turn with all that is known of it, or one of FORMS.

    `retracted` is for `jsonl` alone. `personas` says where her file is. Raises ConfigError, and when iterated as
    `export` does.
    """
    if form == "jsonl":
        return export(path, stream=stream, retracted=retracted)
    if retracted:
        fix = "Leave out --retracted, or export as jsonl"
        raise ConfigError([Problem("--retracted", "what was taken back is never part of a dataset", fix)])
    found = conversations(export(path, stream=stream, willing=True), personas or PersonaSettings())
    return (row for conversation in found for row in FORMS[form](conversation))


def conversations(
    turns: Iterable[Mapping[str, Any]], personas: PersonaSettings, window: int = WINDOW
) -> Iterator[Conversation]:
    """The turns that may be learnt from, in rows of up to `window` exchanges of one stream and persona.

    `line` is the number of the first of its turns. A persona who has no file any more begins without an opening.
    Raises ConfigError for a turn that is none.
    """
    known: dict[str, Persona | None] = {}
    row = _Growing()
    for number, data in enumerate(turns, 1):
        try:
            turn = read_turn(data)
        except ValueError as error:
            raise ConfigError([Problem(f"turn {number}", str(error), "Export the transcripts anew")]) from None
        if turn.left_out:
            continue
        if turn.persona not in known:
            known[turn.persona] = persona_of(turn.persona, personas)
        persona = known[turn.persona]
        if not row.goes_on(turn.stream, turn.persona, window):
            yield from row.done()
            row = _Growing(turn.stream, turn.persona, turn.reply_id, number, beginning(persona) if persona else ())
        row.exchanges.append(exchange(turn, persona or stranger(turn.persona)))
    yield from row.done()


class _Growing:
    """A conversation that exchanges are still added to."""

    def __init__(
        self, stream: int = 0, persona: str = "", reply_id: str = "", line: int = 0, opening: tuple[Message, ...] = ()
    ) -> None:
        self._stream, self._persona, self._reply_id, self._line = stream, persona, reply_id, line
        self._opening = opening
        self.exchanges: list[tuple[Message, Message]] = []

    def goes_on(self, stream: int, persona: str, window: int) -> bool:
        return (stream, persona) == (self._stream, self._persona) and 0 < len(self.exchanges) < window

    def done(self) -> Iterator[Conversation]:
        if self.exchanges:
            messages = (*self._opening, *(message for pair in self.exchanges for message in pair))
            meta = {"stream": self._stream, "persona": self._persona}
            yield Conversation(f"{self._stream}/{self._reply_id}", "transcripts", self._line, messages, meta)


def to_openai(conversation: Conversation) -> Rows:
    """`messages`, one row; what is not learnt has weight 0."""
    yield {"messages": [_plain(message) | _weight(message) for message in conversation.messages]}


def to_sharegpt(conversation: Conversation) -> Rows:
    """`conversations` of from and value, one row; what is not learnt has weight 0, which some trainers know."""
    yield {
        "conversations": [
            {"from": _SHAREGPT[message.role], "value": message.content, **_weight(message)}
            for message in conversation.messages
        ]
    }


def to_trl(conversation: Conversation) -> Rows:
    """`prompt` and `completion` as messages: one row for each answer that is learnt, all before it its prompt."""
    for index, message in enumerate(conversation.messages):
        if message.role == "assistant" and message.weight > 0:
            prompt = [_plain(before) for before in conversation.messages[:index]]
            yield {"prompt": prompt, "completion": [_plain(message)]}


def _plain(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": message.content}


def _weight(message: Message) -> dict[str, Any]:
    if message.role != "assistant" or message.weight == 1:
        return {}
    return {"weight": int(message.weight) if message.weight == 0 else message.weight}


FORMS: Mapping[str, Callable[[Conversation], Rows]] = {"openai": to_openai, "sharegpt": to_sharegpt, "trl": to_trl}
