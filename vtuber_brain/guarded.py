"""The hooks of plugins behind their guards: each has its hook's shape, and lets nothing through but what fits it."""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from vtuber_brain.errors import JudgeDown, Refused, Unavailable
from vtuber_brain.plugin_api import (
    ChatMessage,
    Deliver,
    Event,
    Incoming,
    Verdict,
    checked_facts,
    checked_incoming,
    checked_verdict,
)
from vtuber_brain.runtime.guard import Guard


class Guarded:
    """A plugin's object behind its guard. Its name begins with the plugin's, so that it can be no part of ours."""

    def __init__(self, inner: Any, guard: Guard) -> None:
        self.name = f"{guard.plugin}.{inner.name}"
        self._inner, self._guard = inner, guard


class GuardedSource(Guarded):
    """A plugin's source."""

    async def run(self, deliver: Deliver) -> None:
        """Run it for as long as it likes. Raises Refused when it does, and Unavailable for all else that ends it."""

        async def checked(incoming: Incoming) -> None:
            await deliver(checked_incoming(incoming))
            self._guard.worked()

        try:
            await self._guard.call(partial(self._inner.run, checked), None)
        except Unavailable as error:
            if isinstance(error.__cause__, Refused):
                raise Refused(str(error)) from error
            raise


class GuardedJudge(Guarded):
    """A plugin's judge."""

    async def judge(self, message: ChatMessage) -> Verdict:
        """Its verdict. Raises JudgeDown when there is none."""
        try:
            return await self._guard.call(partial(self._ask, message), self._guard.limits.judge_s)
        except Unavailable as error:
            raise JudgeDown(str(error)) from error

    async def _ask(self, message: ChatMessage) -> Verdict:
        return checked_verdict(await self._inner.judge(message))


class GuardedRecall(Guarded):
    """A plugin's recall."""

    async def recall(self, message: ChatMessage) -> Sequence[str]:
        """What it remembers; nothing when it fails."""
        try:
            return await self._guard.call(partial(self._ask, message), self._guard.limits.recall_s)
        except Unavailable:
            return ()

    async def _ask(self, message: ChatMessage) -> tuple[str, ...]:
        return checked_facts(await self._inner.recall(message))


class GuardedSink(Guarded):
    """A plugin's sink."""

    async def emit(self, event: Event) -> None:
        """Hand the event over. That it fails is counted, and no concern of whoever said something."""
        with contextlib.suppress(Unavailable):
            await self._guard.call(partial(self._inner.emit, event), self._guard.limits.emit_s)
