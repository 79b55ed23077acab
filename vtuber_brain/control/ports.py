"""What the API needs of the brain, and nothing else of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vtuber_brain.control.models import Answer, State
from vtuber_brain.control.tokens import Who


class Brain(Protocol):
    """One daemon, as its operator meets it. Nothing here raises for what happens to an order; the Answer says it."""

    async def order(self, who: Who, command: str, **fields: Any) -> Answer:
        """Have one of the bus's commands obeyed; every change is audited."""
        ...

    def state(self) -> State:
        """How she is, now."""
        ...

    def reasons(self) -> list[str]:
        """Why she cannot talk at present; none: she can."""
        ...

    def blocklist(self) -> tuple[str, Sequence[str]]:
        """The path of the operator's own block list and its entries. Raises ConfigError when it cannot be read."""
        ...

    async def block(self, who: Who, change: str, entries: Sequence[str]) -> Answer:
        """`add`, `remove` or `replace` entries of that list, and judge by it from now on."""
        ...

    async def rate(self, who: Who, reply_id: str, rating: int, reason: str) -> Answer:
        """Note an opinion of a reply."""
        ...

    async def edit(self, who: Who, reply_id: str, text: str, reason: str) -> Answer:
        """Note what she should have said."""
        ...

    async def chat(self, who: Who, name: str, text: str) -> Answer:
        """Write something in chat as the viewer `name`."""
        ...

    async def preview(self, who: Who, name: str, release: str | None, text: str) -> Answer:
        """What a persona would answer with a release; `data` has text and reasons against it. Nobody hears it."""
        ...

    async def replies(self, limit: int, *, unrated: bool) -> Answer:
        """The latest replies that were heard, as models.RatedReplies."""
        ...

    async def night(self) -> Answer:
        """The last night's report, as models.Night."""
        ...

    async def forget(self, who: Who, source: str, author_id: str) -> Answer:
        """Empty everything of a viewer's, here and in the transcripts."""
        ...

    def refused(self, who: Who, action: str, arguments: Mapping[str, Any]) -> None:
        """Somebody wanted what their role may not: that is audited too."""
        ...
