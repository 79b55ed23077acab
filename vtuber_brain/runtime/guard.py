"""A guard at one hook of one plugin: every call ends in time, what keeps failing rests, the daemon never notices.

What it cannot do is in runtime/driven.py.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exception_only, walk_tb
from typing import Any, TypeVar, cast

import structlog

from vtuber_brain.errors import Unavailable, WireError
from vtuber_brain.runtime.breaker import Breaker
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.driven import Outcome, bounded
from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient to be with a plugin, in seconds, and after how many failures in a row a hook rests for `rest_s`.

    `judge_s` and `recall_s` are shorter than the defaults of `sentiment.timeout_s` and `memory.recall_timeout_s`:
    whoever asks would otherwise leave before a plugin is known to be late.
    """

    setup_s: float = 10
    judge_s: float = 1
    recall_s: float = 0.25
    emit_s: float = 1
    block_s: float = 0.25
    grace_s: float = 1
    max_failures: int = 5
    rest_s: float = 60


class Guard:
    """Stands at one hook of one plugin: a time for each call, and after too many failures in a row, a rest.

    It cannot stop code that blocks the event loop: such a call counts as a failure once it is over.
    """

    def __init__(self, plugin: str, hook: str, limits: Limits, metrics: Metrics) -> None:
        self.plugin, self.limits = plugin, limits
        self._hook, self._metrics = hook, metrics
        self._breaker = Breaker(limits.max_failures, limits.rest_s)
        self._still_running: set[asyncio.Task[Any]] = set()
        self._reason, self._told_s = "", -math.inf

    @property
    def trouble(self) -> str | None:
        """Why the hook is left alone, if it is."""
        if self._breaker.state == "closed":
            return None
        num, rest_s = self._breaker.num_failures, self.limits.rest_s
        return f"its {self._hook} failed {num} times in a row and is tried every {rest_s:g} s: {self._reason}"

    async def call(self, function: Callable[[], Coroutine[Any, Any, T]], timeout_s: float | None) -> T:
        """What the plugin returns. Raises Unavailable, with the cause, when it fails, is late or is left alone."""
        if len(self._still_running) >= self.limits.max_failures or not self._breaker.admit():
            raise Unavailable(f"the {self._hook} of {self.plugin} is left alone: {self._reason}")
        blocked_s = 0.0

        def on_step(step_s: float) -> None:
            nonlocal blocked_s
            if step_s > max(blocked_s, self.limits.block_s):
                blocked_s = step_s
                self._tell("plugin_blocked", f"it kept everything waiting for {step_s:.2f} s")

        try:
            outcome = await bounded(function, timeout_s, self.limits.grace_s, on_step)
        except asyncio.CancelledError:
            self._breaker.given_up()
            raise
        if outcome.late is not None or outcome.error is not None:
            # A source speaks of its connection; another hook's error may quote the message it was given.
            reason = told(outcome, timeout_s, with_words=self._hook == "source")
            self._failed(reason, outcome.late)
            raise Unavailable(f"the {self._hook} of {self.plugin} failed: {reason}") from outcome.error
        if blocked_s:
            self._failed(f"it kept everything waiting for {blocked_s:.2f} s")
        else:
            self.worked()
        return cast("T", outcome.value)

    def worked(self) -> None:
        """Note that the hook does what it should."""
        if self._breaker.succeeded():
            log.info("plugin_works_again", plugin=self.plugin, hook=self._hook)

    def _failed(self, reason: str, late: "asyncio.Task[Any] | None" = None) -> None:
        if late is not None:
            self._still_running.add(late)
            late.add_done_callback(self._still_running.discard)
        self._metrics.errors.labels(f"plugin_{self.plugin}").inc()
        self._reason = reason
        if self._breaker.failed():
            rest_s, num = self.limits.rest_s, self._breaker.num_failures
            log.error(
                "plugin_left_alone", plugin=self.plugin, hook=self._hook, reason=reason, in_a_row=num, rest_s=rest_s
            )
        elif self._breaker.state == "closed":
            self._tell("plugin_failed", reason)

    def _tell(self, event: str, reason: str) -> None:
        """Log it, unless something of this hook was logged a moment ago; the metric counts them all."""
        if now_s() - self._told_s >= self.limits.rest_s:
            self._told_s = now_s()
            log.warning(event, plugin=self.plugin, hook=self._hook, reason=reason)


def told(outcome: Outcome[Any], timeout_s: float | None, *, with_words: bool) -> str:
    """How a call went wrong, in a few words. Without an error's own words where those may quote a viewer."""
    error = outcome.error
    if error is None:
        return f"no answer within {timeout_s:g} s"
    if isinstance(error.__cause__, SystemExit):
        error = error.__cause__
    # A WireError is ours: what the plugin gave is not what it should have given.
    if with_words or isinstance(error, WireError):
        # Not str(error): that is the plugin's code once more.
        return format_exception_only(error)[-1].strip().removeprefix(f"{type(error).__module__}.")
    return type(error).__name__ + _place(error)


def _place(error: BaseException) -> str:
    """Where it was raised, as far as it tells."""
    steps = list(walk_tb(error.__traceback__))
    if not steps:
        return ""
    frame, line = steps[-1]
    file = Path(frame.f_code.co_filename)
    return f" in {file.parent.name}/{file.name}, line {line}"
