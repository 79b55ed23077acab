"""Whose word counts among the pages of the overlay: one leads, and when it goes the next one takes its place. Pure.

The first page that sounds leads; while none does, the first that shows, for subtitles are read. What a page did before
it led is remembered, so that a sentence under way can go on with it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from vtuber_brain.voice.queue import Key, Played

MAX_GIVEN = 32
"""Sentences remembered for each page: more than are ever on the way."""


@dataclass(eq=False, slots=True)
class Listener:
    """One page; `sounds` is None until it has said that it is ready."""

    sounds: bool | None = None
    given: "OrderedDict[Key, Played | None]" = field(default_factory=OrderedDict)


class Audience:
    """The pages in the order in which they came."""

    def __init__(self) -> None:
        self._pages: list[Listener] = []
        self.leader: Listener | None = None

    def __len__(self) -> int:
        return len(self._pages)

    def join(self, page: Listener) -> None:
        """A page has come."""
        self._pages.append(page)

    def leave(self, page: Listener) -> None:
        """A page has gone."""
        self._pages.remove(page)

    def ready(self) -> list[Listener]:
        """The pages that can be given something."""
        return [page for page in self._pages if page.sounds is not None]

    def give(self, key: Key) -> None:
        """Every page that is ready is given a sentence."""
        for page in self.ready():
            page.given[key] = None
            if len(page.given) > MAX_GIVEN:
                page.given.popitem(last=False)

    def counts(self, page: Listener, key: Key, state: Played) -> bool:
        """A page says what it does with a sentence; whether that counts. What it was never given does not."""
        if key not in page.given:
            return False
        page.given[key] = state
        return page is self.leader

    def choose(self) -> bool:
        """Find who leads now; whether that is somebody else than before."""
        ready = self.ready()
        best = next((page for page in ready if page.sounds), ready[0] if ready else None)
        if self.leader is not None and self.leader in ready and (self.leader.sounds or best is None or not best.sounds):
            best = self.leader
        before, self.leader = self.leader, best
        return before is not best
