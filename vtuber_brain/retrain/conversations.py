"""What a corpus is made of: conversations and plain texts, frozen; each knows where it stands and what it hashes to."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `weight` (0 to 1) is that of the loss on it, and means something for the assistant's alone."""

    role: Role
    content: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row of chat: perhaps a system message, then user and assistant in turn. `line` counts from 1 in `source`.

    `meta` holds whatever else the row said, such as its `topic`.
    """

    id: str
    source: str
    line: int
    messages: tuple[Message, ...]
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of the messages alone: equal rows hash equal wherever they stand and whatever they are called."""
        return _digest([[message.role, message.content, message.weight] for message in self.messages])

    @property
    def words(self) -> str:
        """What user and assistant say, one message a line; what every row may share, the system message, left out."""
        return "\n".join(message.content for message in self.messages if message.role != "system")


@dataclass(frozen=True, slots=True)
class Text:
    """One row of plain text, for plain language modelling."""

    id: str
    source: str
    line: int
    text: str
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of the text alone."""
        return _digest(self.text)

    @property
    def words(self) -> str:
        """The text."""
        return self.text


Row = Conversation | Text


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()
