"""What the persona remembers while on air: the last turns as they were heard, and a little about each viewer.

Bounded in every direction, synchronous, in this process only. It never keeps words that were taken back, nor takes
them in when their turn ends after the retraction.
"""

import re
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from vtuber_brain.context.facts import Fact, extract
from vtuber_brain.context.quote import quote
from vtuber_brain.messages import CANNED, ChatMessage, Retraction, Turn
from vtuber_brain.sections import MemorySettings

RETRACTIONS_KEPT = 1024
MAX_SAID_CHARS = 80
_CIRCLE = re.compile(r"\b(\w.{3,40}?)(?:\W+\1\b){2,}", re.IGNORECASE)
_LEARNED_FROM = frozenset({"spoken", "cut", "failed"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message, or what had her speak on her own, and the part of the reply that was heard."""

    message: ChatMessage | None
    heard_text: str
    reply_id: str = ""
    musing: str | None = None


@dataclass(frozen=True, slots=True)
class Recalled:
    """What memory has to say to a message: past turns, oldest first, and facts about its author, best first."""

    exchanges: tuple[Exchange, ...] = ()
    facts: tuple[str, ...] = ()
    grounds: tuple[Fact, ...] = ()
    source: str = ""

    def rests_on(self, retraction: Retraction) -> bool:
        """Whether anything in it comes from the words taken back."""
        if any(one.message is not None and _covers(retraction, one.message) for one in self.exchanges):
            return True
        of_source = retraction.source == self.source and retraction.scope != "author"
        return of_source and any(_from(fact, retraction) for fact in self.grounds)


@dataclass(slots=True)
class _Viewer:
    num_turns: int = 0
    last: Fact | None = None
    facts: dict[str, Fact] = field(default_factory=dict)

    def forget(self, retraction: Retraction) -> bool:
        """Drop what came from the words taken back; whether nothing is left of this viewer."""
        gone = [topic for topic, fact in self.facts.items() if _from(fact, retraction)]
        for topic in gone:
            del self.facts[topic]
        if self.last is not None and _from(self.last, retraction):
            self.last = None
            gone.append("last")
        if gone:
            self.num_turns = self.num_turns - 1 if retraction.scope == "message" else 1
        return not self.facts and self.last is None


class Memory:
    """The window of past turns and the facts per viewer. When full, the oldest turn, the viewer unseen longest and the
    oldest fact are forgotten.
    """

    def __init__(self, settings: MemorySettings) -> None:
        self._settings = settings
        self._window: deque[Exchange] = deque(maxlen=settings.window)
        self._viewers: OrderedDict[tuple[str, str], _Viewer] = OrderedDict()
        self._retractions: deque[Retraction] = deque(maxlen=RETRACTIONS_KEPT)

    def recall(self, message: ChatMessage | None) -> Recalled:
        """The past turns, and what is known of who sent `message`."""
        if message is None:
            return Recalled(tuple(self._window))
        key = message.source, message.author.id
        viewer = self._viewers.get(key)
        if viewer is None:
            return Recalled(tuple(self._window))
        self._viewers.move_to_end(key)
        grounds = (*viewer.facts.values(), *([viewer.last] if viewer.last is not None else []))
        return Recalled(tuple(self._window), tuple(self._told(viewer, message.author.name)), grounds, message.source)

    def remember(self, turn: Turn) -> None:
        """Take in a finished turn: what was heard of it, and what its message says of the viewer.

        One that answers nothing and was no musing of hers, and one that was retracted or refused, leaves no trace. The
        message's text should be the verdict's; `heard_text` is kept as it is, cues included.
        """
        message = turn.message
        if turn.outcome not in _LEARNED_FROM or (message is None and turn.musing is None):
            return
        if message is not None:
            if self._was_retracted(message):
                return
            self._learn(message)
        # A small model that sees itself go in circles goes on in circles.
        if turn.heard_text.strip() and turn.reason != CANNED and not _CIRCLE.search(turn.heard_text):
            self._window.append(Exchange(message, turn.heard_text, turn.reply_id, turn.musing))

    def correct(self, turn: Turn) -> None:
        """Less was heard of a reply than was thought when it ended."""
        kept = [
            replace(one, heard_text=turn.heard_text) if one.reply_id == turn.reply_id else one for one in self._window
        ]
        self._window = deque((one for one in kept if one.heard_text.strip()), maxlen=self._settings.window)

    def retract(self, retraction: Retraction, texts: Iterable[str] = ()) -> None:
        """Remove every trace of the words taken back, and refuse them if they come later.

        A reply to somebody else that quotes them goes too; `texts` are such words as this memory may know no more.
        """
        self._retractions.append(retraction)
        gone = [
            one.message.text for one in self._window if one.message is not None and _covers(retraction, one.message)
        ]
        quoted = [words for text in (*gone, *texts) if (words := _words(text))]
        self._window = deque(
            (one for one in self._window if not any(words in _words(one.heard_text) for words in quoted)),
            maxlen=self._settings.window,
        )
        kept = [one for one in self._window if one.message is None or not _covers(retraction, one.message)]
        self._window = deque(kept, maxlen=self._settings.window)
        if retraction.scope == "author":
            self._viewers.pop((retraction.source, retraction.target_id or ""), None)
            return
        of_source = [(key, viewer) for key, viewer in self._viewers.items() if key[0] == retraction.source]
        for key, viewer in of_source:
            if viewer.forget(retraction):
                del self._viewers[key]

    def clear(self) -> None:
        """Forget every turn and every viewer; what was taken back is refused still."""
        self._window.clear()
        self._viewers.clear()

    def _learn(self, message: ChatMessage) -> None:
        key = message.source, message.author.id
        viewer = self._viewers.setdefault(key, _Viewer())
        self._viewers.move_to_end(key)
        while len(self._viewers) > self._settings.viewers:
            self._viewers.popitem(last=False)
        viewer.num_turns += 1
        viewer.last = Fact("last", quote(message.text, MAX_SAID_CHARS), message.id, message.at)
        for fact in extract(message.text, message.id, message.at):
            viewer.facts.pop(fact.topic, None)
            viewer.facts[fact.topic] = fact
        while len(viewer.facts) > self._settings.facts:
            del viewer.facts[next(iter(viewer.facts))]

    def _told(self, viewer: _Viewer, name: str) -> list[str]:
        shown = f"is called {name}".casefold()
        facts = [fact.text for fact in reversed(viewer.facts.values()) if fact.text.casefold() != shown]
        if viewer.num_turns > 1:
            facts.append(f"has talked with you {viewer.num_turns} times")
        in_window = {exchange.message.id for exchange in self._window if exchange.message is not None}
        if viewer.last is not None and viewer.last.text and viewer.last.message_id not in in_window:
            facts.append(f'said last time: "{viewer.last.text}"')
        return facts

    def _was_retracted(self, message: ChatMessage) -> bool:
        return any(_covers(retraction, message) for retraction in self._retractions)


def _words(text: str) -> str:
    """The words of a text and nothing else, so that a quotation is found as such: ` like these `."""
    words = " ".join(re.findall(r"\w+", text.casefold()))
    return f" {words} " if words else ""


def _covers(retraction: Retraction, message: ChatMessage) -> bool:
    # An author who was only timed out may speak again, so what comes after the retraction is not covered.
    return retraction.covers(message) and (retraction.scope == "message" or message.at <= retraction.at)


def _from(fact: Fact, retraction: Retraction) -> bool:
    return fact.message_id == retraction.target_id if retraction.scope == "message" else fact.at <= retraction.at
