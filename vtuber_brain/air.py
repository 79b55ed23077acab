"""Whether she is on air. While she is nobody trains beside her; once she is off, what was said is an ended stream.

A lease beside the transcripts tells others; it ends with the process, however that ends.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import structlog

from vtuber_brain.errors import Unavailable
from vtuber_brain.runtime.lease import ON_AIR, held
from vtuber_brain.transcripts.store import Transcripts

log = structlog.get_logger(__name__)


class Air:
    """One daemon's time on air, which begins with it. Where no transcripts are kept there is nothing to learn from."""

    def __init__(self, transcripts: Transcripts | None, path: Path | None, persona: str) -> None:
        self._transcripts, self._persona = transcripts, persona
        self._lease = path.with_name(ON_AIR) if path is not None else None
        self._holding = contextlib.ExitStack()
        self._is_on = False

    @contextlib.contextmanager
    def live(self) -> Iterator["Air"]:
        """On air from here on; the lease is given back at the latest on leaving."""
        with self._holding:
            self.begin()
            yield self

    def begin(self) -> None:
        """Be on air. A night that is at work already is not disturbed; none begins."""
        if self._is_on or self._lease is None:
            return
        self._is_on = True
        try:
            self._holding.enter_context(held(self._lease, f"the daemon of {self._persona}", shared=True))
        except (OSError, Unavailable) as error:
            log.warning("lease_not_taken", reason=str(error))

    async def end(self) -> None:
        """Be off air: the stream has ended, and what comes now belongs to the next one. Raises Unavailable."""
        if not self._is_on:
            return
        if self._transcripts is not None:
            await self._transcripts.next_stream()
        self._is_on = False
        self._holding.close()
