"""What each viewer wrote lately, for words that are cut in two to pass one by one. Bounded, forgets by time."""

from collections import OrderedDict

from vtuber_brain.messages import ChatMessage

MAX_AUTHORS = 8192
WITHIN_S = 20.0
MAX_CHARS = 200


class Recently:
    """The last words of up to MAX_AUTHORS viewers; of more, who wrote first is forgotten."""

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    def note(self, message: ChatMessage, text: str) -> str:
        """Remember `text`, the cleaned one; returns what the same viewer wrote within WITHIN_S before it."""
        author = (message.source, message.author.id)
        at_s, before = self._said.pop(author, (0.0, ""))
        if message.received_s - at_s > WITHIN_S:
            before = ""
        self._said[author] = message.received_s, f"{before} {text}".strip()[-MAX_CHARS:]
        if len(self._said) > MAX_AUTHORS:
            self._said.popitem(last=False)
        return before
