"""What waits between the sources and the model: bounded, never blocking, every drop with its reason.

Two lanes; a full one loses its oldest (`inbox_full`). Money is taken first, the larger before the smaller, never ages
and is never crowded out by chat. Of chat the best of the moment is taken (choice.py), and the like of it with it. It
judges nothing and does no I/O; its clock is given to it.
"""

import asyncio
import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace

from vtuber_brain.chat.choice import Candidate, Choice
from vtuber_brain.messages import ChatMessage, Drop, Mood, Retraction
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.rate import Bucket
from vtuber_brain.sections import ChatSettings

MAX_AUTHORS = 16_384
MAX_BANNED = 65_536

Key = tuple[str, str]

_TIERS = (1000.0, 100.0)
"""Worth in bits from which an event is taken before all smaller ones; within a tier the earlier comes first."""


class Recent:
    """A set of the last `capacity` things added; the oldest is forgotten first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: OrderedDict[Hashable, None] = OrderedDict()

    def __contains__(self, item: Hashable) -> bool:
        return item in self._items

    def add(self, item: Hashable) -> bool:
        """Remember `item`; False when it was already known."""
        if item in self._items:
            return False
        self._items[item] = None
        if len(self._items) > self._capacity:
            self._items.popitem(last=False)
        return True


class Inbox:
    """The messages that wait for the model, for one event loop.

    `on_drop` hears of every message that ends here, with its reason, from inside the call that ends it; it counts them,
    and must neither raise nor call back. `clock` gives the seconds that `ChatMessage.received_s` is counted in.
    """

    def __init__(
        self,
        settings: ChatSettings,
        choice: Choice,
        metrics: Metrics,
        *,
        on_drop: Callable[[ChatMessage, Drop], None],
        clock: Callable[[], float] = now_s,
    ) -> None:
        self._settings, self._on_drop, self._clock = settings, on_drop, clock
        self._choice = choice
        self._chat: OrderedDict[Key, Candidate] = OrderedDict()
        self._money: OrderedDict[Key, ChatMessage] = OrderedDict()
        self._arrived, self._news = asyncio.Event(), asyncio.Event()
        self._seen = Recent(settings.dedupe)
        self._retracted = Recent(settings.dedupe)
        self._banned: OrderedDict[Hashable, float] = OrderedDict()
        self._cleared: dict[str, float] = {}
        self._authors: OrderedDict[Key, Bucket] = OrderedDict()
        metrics.inbox.labels("chat").set_function(lambda: len(self._chat))
        metrics.inbox.labels("money").set_function(lambda: len(self._money))
        metrics.queue.labels("chat").set_function(lambda: len(self._chat))
        metrics.queue.labels("money").set_function(lambda: len(self._money))
        metrics.oldest.labels("chat").set_function(lambda: self._oldest_s(self._waiting_chat()))
        metrics.oldest.labels("money").set_function(lambda: self._oldest_s(self._money.values()))

    def __len__(self) -> int:
        return len(self._chat) + len(self._money)

    def admit(self, message: ChatMessage) -> Drop | None:
        """Why `message` may not wait, or None; never waits. A second asking finds it a duplicate."""
        if (reason := self._objection(message)) is not None:
            self._drop(message, reason)
        return reason

    def put(self, message: ChatMessage, *, approved: bool = False) -> None:
        """Let an admitted message wait. A full lane drops its oldest, not the newcomer.

        One that the operator has approved is no wave, and not folded into what was picked a moment ago: it may have
        been itself.
        """
        if message.is_money:
            self._put_money(message)
            return
        candidate = self._choice.enter(message)
        if not approved and self._choice.is_wave(candidate):
            self._drop(message, Drop.WAVE)
        elif not approved and self._choice.is_being_answered(candidate):
            self._drop(message, Drop.FOLDED)
        else:
            if len(self._chat) >= self._settings.capacity:
                self._drop(self._chat.popitem(last=False)[1].message, Drop.INBOX_FULL)
            self._chat[message.key] = candidate
            self._arrived.set()
            self._news.set()

    async def filled(self) -> None:
        """Wait until something new waits here."""
        await self._news.wait()
        self._news.clear()

    def unfelt(self, num: int) -> list[ChatMessage]:
        """Up to `num` waiting chat messages whose mood is unknown: half of them those with the best prospects, the
        rest the latest.
        """
        unknown = [one for one in self._chat.values() if one.mood is None]
        best = heapq.nlargest((num + 1) // 2, unknown, key=lambda one: one.standing)
        chosen = {one.message.key for one in best}
        latest = (one for one in reversed(unknown) if one.message.key not in chosen)
        return [one.message for one in [*best, *itertools.islice(latest, num - len(best))]]

    def feel(self, message: ChatMessage, mood: Mood) -> None:
        """The mood of a message has become known; it may wait no longer."""
        if (candidate := self._chat.get(message.key)) is not None:
            self._chat[message.key] = candidate.felt(mood)

    def said(self, text: str) -> None:
        """She has said this: what is like it is no news."""
        self._choice.note(text)

    async def take(self) -> ChatMessage:
        """The next message to answer, waiting for one. Being cancelled loses none."""
        while (message := self._next()) is None:
            self._arrived.clear()
            await self._arrived.wait()
        return message

    def retract(self, retraction: Retraction) -> list[ChatMessage]:
        """Remove what was taken back, and remember it for what has yet to arrive. Returns what was removed."""
        reason = self._remember(retraction)
        return self._remove((m for m in self._waiting() if retraction.covers(m)), reason)

    def drain(self, reason: Drop) -> list[ChatMessage]:
        """Remove everything that waits, for one reason (muted, stopping). Returns what was removed."""
        return self._remove(self._waiting(), reason)

    def _next(self) -> ChatMessage | None:
        if self._money:
            first = min(self._money.values(), key=_tier)  # of equals the first, which is the earliest
            return self._money.pop(first.key)
        now_s = self._clock()
        self._remove((one for one in self._waiting_chat() if now_s - one.received_s > self._settings.max_age_s),
                     Drop.TOO_OLD)  # fmt: skip
        if not self._chat:
            return None
        picked = self._choice.pick(list(self._chat.values()), now_s)
        del self._chat[picked.message.key]
        alike = [one.message for one in self._choice.like(picked, self._chat.values())]
        self._remove(alike, Drop.FOLDED)
        asking = {(one.source, one.author.id) for one in [picked.message, *alike]}
        return replace(picked.message, num_asking=len(asking))

    def _put_money(self, message: ChatMessage) -> None:
        """Several gifts or cheers of one viewer in a row become one event, the earlier keeping its place and words.

        Words never travel under another event's id: by their own they can be taken back.
        """
        for earlier in self._money.values():
            alike = (earlier.source, earlier.kind, earlier.author.id) == (
                message.source,
                message.kind,
                message.author.id,
            )
            in_a_row = alike and message.received_s - earlier.received_s <= self._settings.combine_s
            if in_a_row and (earlier.text or not message.text):
                self._money[earlier.key] = replace(earlier, amount=earlier.num_units + message.num_units)
                self._drop(message, Drop.COMBINED)
                return
        if len(self._money) >= self._settings.money_capacity:
            self._drop(self._money.popitem(last=False)[1], Drop.INBOX_FULL)
        self._money[message.key] = message
        self._arrived.set()

    def _objection(self, message: ChatMessage) -> Drop | None:
        author = (message.source, message.author.id)
        if not self._seen.add(message.key) or message.key in self._chat or message.key in self._money:
            return Drop.DUPLICATE
        if message.at <= self._banned.get(author, -math.inf):
            return Drop.BANNED
        if message.key in self._retracted or message.at <= self._cleared.get(message.source, -math.inf):
            return Drop.RETRACTED
        if not message.is_money and not self._may_speak(author):
            return Drop.AUTHOR_RATE
        return None

    def _may_speak(self, author: Key) -> bool:
        now_s = self._clock()
        bucket = self._authors.get(author)
        if bucket is None:
            bucket = self._authors[author] = Bucket(self._settings.author_burst, self._settings.author_per_s, now_s)
            if len(self._authors) > MAX_AUTHORS:
                self._authors.popitem(last=False)
        else:
            self._authors.move_to_end(author)
        return bucket.take(now_s)

    def _remember(self, retraction: Retraction) -> Drop:
        target = (retraction.source, retraction.target_id)
        match retraction.scope:
            case "author":
                until = math.inf if retraction.until is None else retraction.until
                self._banned[target] = max(until, self._banned.pop(target, -math.inf))
                if len(self._banned) > MAX_BANNED:
                    self._banned.popitem(last=False)
                return Drop.BANNED
            case "message":
                self._retracted.add(target)
            case "all":
                self._cleared[retraction.source] = max(retraction.at, self._cleared.get(retraction.source, -math.inf))
        return Drop.RETRACTED

    def _oldest_s(self, waiting: Iterable[ChatMessage]) -> float:
        return max((self._clock() - message.received_s for message in waiting), default=0.0)

    def _waiting_chat(self) -> list[ChatMessage]:
        return [candidate.message for candidate in self._chat.values()]

    def _waiting(self) -> list[ChatMessage]:
        return [*self._money.values(), *self._waiting_chat()]

    def _remove(self, messages: Iterable[ChatMessage], reason: Drop) -> list[ChatMessage]:
        removed = list(messages)
        for message in removed:
            self._money.pop(message.key, None)
            self._chat.pop(message.key, None)
            self._drop(message, reason)
        return removed

    def _drop(self, message: ChatMessage, reason: Drop) -> None:
        self._on_drop(message, reason)


def _tier(message: ChatMessage) -> int:
    return next((tier for tier, least in enumerate(_TIERS) if message.worth >= least), len(_TIERS))
