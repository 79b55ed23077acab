"""Keeps her in VTube Studio: finds it, logs in, shows her face, and comes back whenever the connection is lost."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from vtuber_brain.plugin_api import Deliver, Refused

from .discovery import discover
from .face import Face
from .link import Lost, opened
from .login import TokenFile, log_in
from .mapping import Moves, read
from .options import Options
from .performance import Performance
from .protocol import DENIED, ApiError, Handling, Message
from .racing import until

log = structlog.get_logger(__name__)

PAUSES_S = (0.5, 1.0, 2.0, 5.0)
LOOK_AT_FILE_S = 1.0


class Troubles:
    """What is wrong at present, by part; health is told of the whole."""

    def __init__(self, set_health: Callable[[bool, str], None]) -> None:
        self._set_health = set_health
        self._reasons: dict[str, str] = {}

    def set(self, part: str, reason: str) -> None:
        """Note what is wrong with a part; an empty reason: nothing."""
        if self._reasons.get(part, "") == reason:
            return
        self._reasons[part] = reason
        reasons = [reason for reason in self._reasons.values() if reason]
        self._set_health(not reasons, "; ".join(reasons))


class Studio:
    """A source that delivers nothing: it runs for as long as the daemon does."""

    name = "face"

    def __init__(self, options: Options, performance: Performance, tokens: TokenFile, troubles: Troubles) -> None:
        self._performance, self._tokens, self._troubles = performance, tokens, troubles
        self._options = options
        self._woken, self._renewed = asyncio.Event(), asyncio.Event()
        performance.on_change = self._woken.set

    def use(self, options: Options) -> None:
        """Go on with other settings, over a new connection."""
        self._options = options
        self._renewed.set()

    async def run(self, deliver: Deliver) -> None:  # noqa: ARG002 - nothing comes in this way
        """Stay connected until cancelled. Raises Refused for what only the operator can mend."""
        reading = asyncio.create_task(self._keep_reading(), name="vtube_studio-mapping")
        try:
            await self._stay()
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _stay(self) -> None:
        tries = 0
        while True:
            since_s = time.monotonic()
            self._renewed.clear()
            try:
                await until(self._renewed, self._serve(), "vtube_studio-serve")
            except (Lost, Refused) as error:
                self._troubles.set("face", "")
                self._troubles.set("connection", str(error))
                if isinstance(error, Refused):
                    raise
            if time.monotonic() - since_s > 2 * PAUSES_S[-1]:
                tries = 0
            if not self._renewed.is_set():
                await asyncio.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
            tries += 1

    async def _serve(self) -> None:
        """One connection, from finding it to its end."""
        options = self._options
        try:
            await self._over(options.url, options)
        except _Unreached:
            if options.discover == "off":
                raise
            found = await discover(options.discovery_port, whole_network=options.discover == "network")
            if found is None or found.url == options.url:
                raise
            if not found.is_active:
                raise Lost("it runs, and plugin API access is turned off in its settings") from None
            await self._over(found.url, options)

    async def _over(self, url: str, options: Options) -> None:
        face: Face | None = None

        def on_event(message: Message) -> None:
            if face is not None:
                face.hear(message)

        reached = False
        try:
            async with opened(url, on_event, options.timeout_s) as link:
                reached = True
                face = Face(link, options, self._performance, self._woken, self._troubles.set)
                await log_in(link, self._tokens, allow_s=options.allow_s, on_asking=self._ask)
                self._troubles.set("connection", "")
                log.info("vtube_studio_up")
                await face.subscribe()
                await face.run()
        except Lost as error:
            raise error if reached else _Unreached(str(error)) from error
        except ApiError as error:
            raise self._verdict(error) from error
        except Refused as error:
            self._denied(error.__cause__)
            raise

    def _ask(self) -> None:
        self._troubles.set("connection", "waiting for your click on Allow in VTube Studio")

    def _verdict(self, error: ApiError) -> Exception:
        """What an error before the face is shown amounts to."""
        self._denied(error)
        return Refused(str(error)) if error.handling is Handling.STOP else Lost(str(error))

    def _denied(self, error: BaseException | None) -> None:
        """Who took access back is not to be asked by an old token; nor again before a reload."""
        if isinstance(error, ApiError) and error.number == DENIED:
            self._tokens.forget()

    async def _keep_reading(self) -> None:
        """Take the mapping file over whenever it has changed; one that is wrong changes nothing, and is told."""
        seen = await asyncio.to_thread(_stamp, self._options.mapping)
        while True:
            await asyncio.sleep(LOOK_AT_FILE_S)
            path = self._options.mapping
            stamp = await asyncio.to_thread(_stamp, path)
            if stamp == seen:
                continue
            seen = stamp
            try:
                moves: Moves = await asyncio.to_thread(read, path)
            except ValueError as error:
                self._troubles.set("mapping", str(error))
            else:
                self._troubles.set("mapping", "")
                self._performance.use(moves)
                log.info("vtube_studio_mapping_read", num_actions=len(moves.actions))


class _Unreached(Lost):
    """Nobody listens at an address."""


def _stamp(path: Path | None) -> tuple[str, int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size
