"""One account's line to Twitch: an EventSub connection that is made again whenever it is lost, and that can move.

What is missed while there is none is lost, for Twitch keeps nothing; so the length of each gap is told. It understands
no event: what happens is handed on, once, in order.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from vtuber_brain.chat.twitch.api import Api, mend
from vtuber_brain.chat.twitch.frames import Malformed, Moved, Notice, Revoked
from vtuber_brain.chat.twitch.http import LeftAlone, events_url
from vtuber_brain.chat.twitch.metrics import TwitchMetrics
from vtuber_brain.chat.twitch.socket import Socket, open_socket
from vtuber_brain.chat.twitch.topics import Topic
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.sections import TWITCH_KEEPALIVE_S, TwitchSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.3
LOOK_S = 0.2
MOVING_S = 25.0
EMPTYING_S = 3.0
MAX_LEFT_ALONE_S = 60.0

Take = Callable[[Notice], Awaitable[None]]
OnState = Callable[[bool, str], None]


class Line:
    """Keeps `topics` of a channel coming for one account; `take` is given every notice, also a repeated one.

    `on_state(up, reason)` is told of every connection made and lost.
    """

    def __init__(
        self,
        settings: TwitchSettings,
        metrics: TwitchMetrics,
        api: Api,
        *,
        channel_id: str,
        account_id: str,
        topics: Sequence[Topic],
        take: Take,
        on_state: OnState,
    ) -> None:
        self._settings, self._metrics, self._api = settings, metrics, api
        self._channel_id, self._account_id, self._topics = channel_id, account_id, topics
        self._take, self._on_state = take, on_state
        self._heard_s: float | None = None

    async def run(self) -> None:
        """Stay connected until cancelled. Raises Refused when the account may not read what it should."""
        longest_s = self._settings.retry_max_s
        pauses = backoff(FIRST_PAUSE_S, longest_s)
        while True:
            started_s = time.monotonic()
            pause_s = 0.0
            try:
                await self._live()
            except Unavailable as error:
                self._on_state(False, str(error))
                log.warning("twitch_lost", reason=str(error))
                pause_s = min(error.pause_s, MAX_LEFT_ALONE_S) if isinstance(error, LeftAlone) else 0.0
            if time.monotonic() - started_s > longest_s:
                pauses = backoff(FIRST_PAUSE_S, longest_s)
            await asyncio.sleep(max(pause_s, next(pauses)))

    async def _live(self) -> None:
        """One session, with all its moves. Raises Unavailable when it is lost."""
        socket = await open_socket(events_url(TWITCH_KEEPALIVE_S), self._settings.timeout_s)
        reading = False
        try:
            for topic in self._topics:
                await self._api.subscribe(topic, self._channel_id, self._account_id, socket.session_id)
            self._tell_gap()
            self._on_state(True, "")
            reading = True
            while True:
                url = await self._read(socket)
                socket = await self._move(socket, url)
        finally:
            if reading:
                self._heard_s = socket.heard_s
            await socket.close()

    def _tell_gap(self) -> None:
        if self._heard_s is not None:
            gap_s = time.monotonic() - self._heard_s
            self._metrics.gap.inc(gap_s)
            log.warning("twitch_gap", seconds=round(gap_s, 2))

    async def _read(self, socket: Socket) -> str:
        """Hand on what comes, until Twitch wants us elsewhere: its address."""
        silence_s = self._settings.silence_s
        while True:
            try:
                frame = await socket.receive(silence_s)
            except TimeoutError:
                break
            match frame:
                case Notice():
                    await self._take(frame)
                case Moved(url):
                    return url
                case Revoked():
                    self._note(frame)
                case Malformed():
                    self._metrics.ignored.labels("malformed_frame").inc()
        raise Unavailable(f"Twitch gave no sign of life for {silence_s:g} s")

    async def _move(self, old: Socket, url: str) -> Socket:
        """Go where Twitch wants us, and read the old connection until the new one is open and the old one empty."""
        opening = asyncio.create_task(self._reopen(url), name="twitch_move")
        async with contextlib.AsyncExitStack() as unless_moved:
            unless_moved.push_async_callback(_abandon, opening)
            await self._empty(old, opening)
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    new = await opening
            except TimeoutError:
                raise Unavailable("Twitch wants us elsewhere and does not answer there") from None
            unless_moved.pop_all()
        log.info("twitch_moved")
        await old.close()
        return new

    async def _reopen(self, url: str) -> Socket:
        give_up_s = time.monotonic() + MOVING_S
        for pause_s in backoff(FIRST_PAUSE_S, self._settings.retry_max_s):
            try:
                return await open_socket(url, self._settings.timeout_s)
            except Unavailable:
                if time.monotonic() + pause_s > give_up_s:
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError

    async def _empty(self, old: Socket, opening: "asyncio.Task[Socket]") -> None:
        """Hand on what the old connection still brings."""
        opened_s: float | None = None
        while opened_s is None or time.monotonic() - opened_s < EMPTYING_S:
            if opening.done() and opened_s is None:
                opened_s = time.monotonic()
            try:
                frame = await old.receive(LOOK_S)
            except TimeoutError:
                if opened_s is not None:
                    return
                continue
            except Unavailable:
                return
            if isinstance(frame, Notice):
                await self._take(frame)
            elif isinstance(frame, Revoked):
                self._note(frame)

    def _note(self, revoked: Revoked) -> None:
        """Raises Refused: what was revoked does not come back by itself."""
        account = self._api.accounts[self._account_id]
        log.error("twitch_revoked", topic=revoked.topic, reason=revoked.reason)
        why = f"Twitch no longer lets {account.login} read {revoked.topic} ({revoked.reason})"
        raise Refused(f"{why}: {mend(revoked.topic, account)}")


async def _abandon(opening: "asyncio.Task[Socket]") -> None:
    opening.cancel()
    (opened,) = await asyncio.gather(opening, return_exceptions=True)
    if isinstance(opened, Socket):
        await opened.close()
