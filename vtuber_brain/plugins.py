"""Plugins: set up those that are turned on, with a registry that takes what the manifest names, and guard every call.

Nothing is imported before its plugin.toml was found good, and nothing a plugin does wrong comes further than here:
setup that fails makes it broken, a call that fails is `Unavailable`, a hook that keeps failing is left alone.
"""

import asyncio
import contextlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Self, TypeVar

import structlog

from vtuber_brain.errors import JudgeDown, Refused, Unavailable
from vtuber_brain.manifests import Found, Hook, PluginStatus, find, folders
from vtuber_brain.plugin_api import ChatMessage, Deliver, Event, Judge, Recall, Sink, Source, Verdict
from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient to be with a plugin: seconds, and failures in a row before a hook is left alone for `rest_s`."""

    setup_s: float = 10
    call_s: float = 1
    max_failures: int = 5
    rest_s: float = 60


@dataclass
class Plugins:
    """The guarded hooks of every plugin that is on, in the order of the plugins' names, and how each plugin is."""

    sources: list[Source] = field(default_factory=list)
    judges: list[Judge] = field(default_factory=list)
    recalls: list[Recall] = field(default_factory=list)
    sinks: list[Sink] = field(default_factory=list)
    statuses: list[PluginStatus] = field(default_factory=list)

    @classmethod
    async def start(
        cls,
        turned_on: Mapping[str, Mapping[str, Any]],
        metrics: Metrics,
        *,
        places: Sequence[Path] | None = None,
        limits: Limits | None = None,
    ) -> Self:
        """Set up, one by one, what has a table in `turned_on` (its settings). Never raises for a plugin's sake."""
        places, limits = folders() if places is None else places, limits or Limits()
        found = {one.name: one for one in find(places)}
        plugins = cls()
        for status in survey(turned_on, places):
            if status.state == "on":
                setup = partial(_set_up, found[status.name], dict(turned_on[status.name]))
                status = await plugins._turn_on(status, setup, metrics, limits)
            plugins.statuses.append(status)
            log.info("plugin", plugin=status.name, state=status.state, detail=status.detail)
        return plugins

    async def _turn_on(
        self,
        status: PluginStatus,
        setup: "Callable[[OnePluginsRegistry], Awaitable[None]]",
        metrics: Metrics,
        limits: Limits,
    ) -> PluginStatus:
        registry = OnePluginsRegistry(status, limits, metrics)
        try:
            await Guard(status.name, "setup", limits, metrics).call(setup, registry, timeout_s=limits.setup_s)
        except Unavailable as error:
            return replace(status, state="broken", detail=str(error))
        finally:
            registry.closed = True
        self.sources += registry.added.sources
        self.judges += registry.added.judges
        self.recalls += registry.added.recalls
        self.sinks += registry.added.sinks
        return status


def survey(turned_on: Mapping[str, Any], places: Sequence[Path] | None = None) -> list[PluginStatus]:
    """How each plugin is, as far as can be told without importing it. A name turned on and not found is broken."""
    places = folders() if places is None else places
    found = find(places)
    absent = f"there is no such plugin, neither in {' nor in '.join(map(str, places))} nor installed"
    missing = sorted(turned_on.keys() - {one.name for one in found})
    return [
        *(one.status(one.name in turned_on) for one in found),
        *(PluginStatus(name, "", "broken", absent) for name in missing),
    ]


class Guard:
    """Stands at one hook of one plugin: a time for each call, and after too many failures in a row, a rest.

    It cannot stop code that blocks the event loop or that swallows its own cancellation.
    """

    def __init__(self, plugin: str, hook: str, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self._plugin, self._hook, self._metrics = plugin, hook, metrics
        self._num_failures = 0
        self._resting_until_s = 0.0

    async def call(self, function: Callable[..., Awaitable[T]], *arguments: Any, timeout_s: float | None) -> T:
        """What the plugin returns. Raises Unavailable, with the cause, when it fails, is late or is left alone."""
        if (rest_s := self._resting_until_s - time.monotonic()) > 0:
            raise Unavailable(f"the {self._hook} of {self._plugin} failed too often: left alone for {rest_s:.0f} s")
        cause: BaseException
        try:
            async with asyncio.timeout(timeout_s) as limit:
                result = await function(*arguments)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            cause = error
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary "one plugin call"
            cause = error
        else:
            self._num_failures = 0
            return result
        reason = f"no answer within {timeout_s} s" if limit.expired() else f"{type(cause).__name__}: {cause}"
        self._count(reason)
        raise Unavailable(f"the {self._hook} of {self._plugin} failed: {reason}") from cause

    def _count(self, reason: str) -> None:
        self._metrics.errors.labels(f"plugin_{self._plugin}").inc()
        self._num_failures += 1
        if self._num_failures >= self.limits.max_failures:
            self._resting_until_s = time.monotonic() + self.limits.rest_s
        log.warning("plugin_failed", plugin=self._plugin, hook=self._hook, reason=reason, in_a_row=self._num_failures)


class _Guarded:
    """A plugin's object behind its guard, under the plugin's object's own name."""

    def __init__(self, inner: Any, guard: Guard) -> None:
        self.name: str = inner.name
        self._inner, self._guard = inner, guard


class _Source(_Guarded):
    """A plugin's source."""

    async def run(self, deliver: Deliver) -> None:
        """Run it for as long as it likes. Raises Refused when it does, and Unavailable for all else that ends it."""
        try:
            await self._guard.call(self._inner.run, deliver, timeout_s=None)
        except Unavailable as error:
            if isinstance(error.__cause__, Refused):
                raise error.__cause__ from None
            raise


class _Judge(_Guarded):
    """A plugin's judge."""

    async def judge(self, message: ChatMessage) -> Verdict:
        """Its verdict. Raises JudgeDown when there is none."""
        try:
            return await self._guard.call(self._ask, message, timeout_s=self._guard.limits.call_s)
        except Unavailable as error:
            raise JudgeDown(str(error)) from error

    async def _ask(self, message: ChatMessage) -> Verdict:
        verdict = await self._inner.judge(message)
        if not isinstance(verdict, Verdict):
            raise TypeError(f"judge returned {type(verdict).__name__}, not a Verdict")
        return verdict


class _Recall(_Guarded):
    """A plugin's recall."""

    async def recall(self, message: ChatMessage) -> Sequence[str]:
        """What it remembers; nothing when it fails."""
        try:
            return await self._guard.call(self._ask, message, timeout_s=self._guard.limits.call_s)
        except Unavailable:
            return ()

    async def _ask(self, message: ChatMessage) -> tuple[str, ...]:
        facts = await self._inner.recall(message)
        if isinstance(facts, str) or not all(isinstance(fact, str) for fact in facts):
            raise TypeError("recall returned something else than a sequence of str")
        return tuple(facts)


class _Sink(_Guarded):
    """A plugin's sink."""

    async def emit(self, event: Event) -> None:
        """Hand the event over. That it fails is counted, and no concern of whoever said something."""
        with contextlib.suppress(Unavailable):
            await self._guard.call(self._inner.emit, event, timeout_s=self._guard.limits.call_s)


class OnePluginsRegistry:
    """What one plugin's `setup` is given. Each `add_` raises Refused for what is not in its manifest or misshapen."""

    def __init__(self, status: PluginStatus, limits: Limits, metrics: Metrics) -> None:
        self._status, self._limits, self._metrics = status, limits, metrics
        self.added = Plugins()
        self.closed = False

    def add_source(self, source: Source) -> None:
        """Take a source."""
        self.added.sources.append(_Source(source, self._guard("source", source, "run")))

    def add_judge(self, judge: Judge) -> None:
        """Take a judge."""
        self.added.judges.append(_Judge(judge, self._guard("judge", judge, "judge")))

    def add_recall(self, recall: Recall) -> None:
        """Take a recall."""
        self.added.recalls.append(_Recall(recall, self._guard("recall", recall, "recall")))

    def add_sink(self, sink: Sink) -> None:
        """Take a sink."""
        self.added.sinks.append(_Sink(sink, self._guard("sink", sink, "emit")))

    def _guard(self, hook: Hook, thing: Any, method: str) -> Guard:
        if self.closed:
            raise Refused(f"it adds a {hook} after its setup has ended")
        if hook not in self._status.hooks:
            raise Refused(f"it adds a {hook}, which its plugin.toml does not name under hooks")
        named = isinstance(getattr(thing, "name", None), str)
        if not named or not inspect.iscoroutinefunction(getattr(thing, method, None)):
            raise Refused(f"its {hook} needs a `name` and an `async def {method}`")
        return Guard(self._status.name, hook, self._limits, self._metrics)


async def _set_up(found: Found, settings: dict[str, Any], registry: OnePluginsRegistry) -> None:
    # In a thread, because an import may take long, or for ever.
    module = await asyncio.to_thread(_import, found)
    setup = getattr(module, "setup", None)
    if not inspect.iscoroutinefunction(setup):
        raise Refused("it has no `async def setup(registry, settings)`")
    await setup(registry, settings)


def _import(found: Found) -> ModuleType:
    if found.module is not None:
        return importlib.import_module(found.module)
    name, inside = f"vtuber_brain_plugin_{found.name}", [str(found.folder)]
    spec = importlib.util.spec_from_file_location(name, found.folder / "__init__.py", submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
