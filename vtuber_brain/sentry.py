"""Watches how a release does once it is live, and takes it back by itself when it does badly.

The gate has measured it at night on other people's words; this is what the audience would notice: replies kept back at
the gate, empty ones, the same thing again and again.
"""

import asyncio
from collections import Counter, deque

import structlog

from vtuber_brain.cast import Cast
from vtuber_brain.errors import BrainError
from vtuber_brain.messages import Event, Turn
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.runtime.health import Health

log = structlog.get_logger(__name__)

WINDOW = 24
"""Replies looked at; before there are so many nothing is decided."""

MAX_BAD = 8
"""So many of them may be bad."""

BY = "live guard"


class Sentry:
    """A sink: it sees every turn. One release is taken back once, and what was current before speaks again."""

    name = "sentry"

    def __init__(self, store: ReleaseStore, cast: Cast, health: Health) -> None:
        self._store, self._cast, self._health = store, cast, health
        self._turns: deque[Turn] = deque(maxlen=WINDOW)
        self._bad: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()

    async def emit(self, event: Event) -> None:
        """Note a turn. Never waits."""
        if not isinstance(event, Turn) or event.release is None or event.outcome == "retracted":
            return
        if self._turns and (self._turns[-1].persona, self._turns[-1].release) != (event.persona, event.release):
            self._turns.clear()
        self._turns.append(event)
        if (reason := why_bad(list(self._turns))) is not None:
            self._turns.clear()
            self._bad.put_nowait((event.persona, event.release, reason))

    async def run(self) -> None:
        """Take back what has done badly, until cancelled."""
        while True:
            persona, release, reason = await self._bad.get()
            try:
                current = self._store.current(persona)
                if current is None or current.name != release:
                    log.warning("release_does_badly", persona=persona, release=release, reason=reason)
                    continue
                before = self._store.rollback(persona, BY, reason)
                if self._cast.on_stage.persona.name == persona:
                    await self._cast.use(persona)
            except (BrainError, OSError) as error:
                log.error("rollback_failed", persona=persona, release=release, reason=str(error))
                continue
            instead = before.name if before is not None else "what she begins with"
            log.error("release_rolled_back", persona=persona, release=release, instead=instead, reason=reason)
            self._health.set("release", False, f"{release} was taken back: {reason}; {instead} speaks")


def why_bad(turns: list[Turn]) -> str | None:
    """What is wrong with these turns of one release; None: nothing, or too few to tell."""
    if len(turns) < WINDOW:
        return None
    refused = sum(turn.outcome == "refused" or turn.reason == "toxic" for turn in turns)
    empty = sum(turn.outcome == "failed" and turn.reason == "empty" for turn in turns)
    # The same answer to the same question is the audience's doing.
    said = Counter(text for _, text in {(_asked(turn), turn.text) for turn in turns if turn.text})
    again = sum(count - 1 for count in said.values())
    for count, what in ((refused, "kept back at the gate"), (empty, "empty"), (again, "said before")):
        if count > MAX_BAD:
            return f"{count} of {len(turns)} replies were {what}"
    return None


def _asked(turn: Turn) -> str:
    return turn.message.text.casefold() if turn.message is not None else turn.reply_id
