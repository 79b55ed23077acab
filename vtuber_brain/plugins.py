"""Plugins: set up those that are turned on, with a registry that takes what the manifest names, and guard every call.

Nothing is imported before its plugin.toml was found good, and nothing a plugin does wrong comes further than here:
setup that fails makes it `failed`, a call that fails is `Unavailable`, a hook that keeps failing is left alone.
"""

import contextlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import structlog

from vtuber_brain.config import state_dir
from vtuber_brain.errors import Refused
from vtuber_brain.guarded import GuardedJudge, GuardedRecall, GuardedSink, GuardedSource
from vtuber_brain.manifests import Found, Hook, PluginStatus, find, folders
from vtuber_brain.plugin_api import Judge, Recall, Sink, Source
from vtuber_brain.runtime.driven import bounded, in_thread
from vtuber_brain.runtime.guard import Guard, Limits, told
from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

Reload = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]
"""A plugin's `async def reload(settings)`: takes over changed settings while it runs. A plugin may be without."""

OnHealth = Callable[[str, bool, str], None]
"""Told of a part's name, whether it works, and why not."""


def _to_nobody(part: str, up: bool, reason: str) -> None:
    """For `check`, which sets plugins up and runs none."""


@dataclass
class Plugins:
    """The guarded hooks of every plugin that is on, in the order of the plugins' names, and how each plugin is."""

    sources: list[Source] = field(default_factory=list)
    judges: list[Judge] = field(default_factory=list)
    recalls: list[Recall] = field(default_factory=list)
    sinks: list[Sink] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    set_up: list[PluginStatus] = field(default_factory=list)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    reloads: dict[str, Reload] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    on_health: OnHealth = _to_nobody

    @classmethod
    async def start(
        cls,
        turned_on: Mapping[str, Mapping[str, Any]],
        metrics: Metrics,
        *,
        places: Sequence[Path] | None = None,
        limits: Limits | None = None,
    ) -> Self:
        """`load`, with a log line for each."""
        plugins = await cls.load(turned_on, metrics, places=places, limits=limits)
        for status in plugins.set_up:
            tell = log.info if status.state in {"off", "on"} else log.error
            tell("plugin", plugin=status.name, state=status.state, detail=status.detail)
        return plugins

    @classmethod
    async def load(
        cls,
        turned_on: Mapping[str, Mapping[str, Any]],
        metrics: Metrics,
        *,
        places: Sequence[Path] | None = None,
        limits: Limits | None = None,
    ) -> Self:
        """Set up, one by one, what has a table in `turned_on` (its settings). Never raises for a plugin's sake."""
        places, limits = folders() if places is None else places, limits or Limits()
        plugins = cls(settings={name: dict(table) for name, table in turned_on.items()}, limits=limits)
        for found in find(places, turned_on):
            status = found.status(found.name in turned_on)
            if status.state == "on":
                setup = partial(_set_up, found, dict(turned_on[found.name]))
                status = await plugins._turn_on(status, setup, metrics, limits)
            if status.state != "off":
                metrics.up.labels(f"plugin_{status.name}").set_function(partial(plugins._is_up, status.name))
            plugins.set_up.append(status)
        return plugins

    async def reload(self, turned_on: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Hand changed settings to the plugins that can take them over; the names of those they did not reach.

        One that fails keeps what it had, and is among them.
        """
        unreached = [name for name in {*self.settings, *turned_on} if (name in self.settings) != (name in turned_on)]
        changed = [name for name, table in turned_on.items() if name in self.settings and table != self.settings[name]]
        for name in changed:
            problem = await self._handed_over(name, dict(turned_on[name])) if name in self.reloads else "it cannot"
            if problem is None:
                self.settings[name] = dict(turned_on[name])
            else:
                log.warning("plugin_not_reloaded", plugin=name, reason=problem)
                unreached.append(name)
        return unreached

    def _hear_health(self, part: str, up: bool, reason: str) -> None:
        self.on_health(part, up, reason)

    async def _handed_over(self, name: str, settings: dict[str, Any]) -> str | None:
        call = partial(self.reloads[name], settings)
        outcome = await bounded(call, self.limits.setup_s, self.limits.grace_s, lambda _step_s: None)
        if outcome.late is None and outcome.error is None:
            return None
        return told(outcome, self.limits.setup_s, with_words=True)

    @property
    def statuses(self) -> list[PluginStatus]:
        """How each plugin is now, by name: one with a hook that is left alone is `failed` for as long."""
        troubles: dict[str, str] = {}
        for guard in self.guards:
            if (trouble := guard.trouble) is not None:
                troubles.setdefault(guard.plugin, trouble)
        return [
            replace(status, state="failed", detail=troubles[status.name]) if status.name in troubles else status
            for status in self.set_up
        ]

    def _is_up(self, name: str) -> bool:
        return any(status.state == "on" for status in self.statuses if status.name == name)

    async def _turn_on(
        self,
        status: PluginStatus,
        setup: "Callable[[OnePluginsRegistry], Coroutine[Any, Any, Reload | None]]",
        metrics: Metrics,
        limits: Limits,
    ) -> PluginStatus:
        registry = OnePluginsRegistry(status, limits, metrics, self._hear_health)
        outcome = await bounded(partial(setup, registry), limits.setup_s, limits.grace_s, lambda _step_s: None)
        registry.closed = True
        if outcome.late is not None or outcome.error is not None:
            metrics.errors.labels(f"plugin_{status.name}").inc()
            reason = told(outcome, limits.setup_s, with_words=True)
            return replace(status, state="failed", detail=f"its setup failed: {reason}")
        if outcome.value is not None:
            self.reloads[status.name] = outcome.value
        for kind in ("sources", "judges", "recalls", "sinks", "guards"):
            getattr(self, kind).extend(getattr(registry.added, kind))
        return status


class OnePluginsRegistry:
    """What one plugin's `setup` is given. Each `add_` raises Refused for what is not in its manifest or misshapen."""

    def __init__(self, status: PluginStatus, limits: Limits, metrics: Metrics, on_health: OnHealth) -> None:
        self._status, self._limits, self._metrics, self._on_health = status, limits, metrics, on_health
        self.added = Plugins()
        self.closed = False

    @property
    def state_dir(self) -> Path:
        """`plugin_state/NAME` in the state folder, made when it is asked for."""
        folder = state_dir() / "plugin_state" / self._status.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def set_health(self, up: bool, reason: str = "") -> None:
        """Hand it to whoever keeps health, under the plugin's name."""
        self._on_health(self._status.name, bool(up), str(reason))

    def add_source(self, source: Source) -> None:
        """Take a source."""
        self.added.sources.append(GuardedSource(source, self._guard("source", source, "run")))

    def add_judge(self, judge: Judge) -> None:
        """Take a judge."""
        self.added.judges.append(GuardedJudge(judge, self._guard("judge", judge, "judge")))

    def add_recall(self, recall: Recall) -> None:
        """Take a recall."""
        self.added.recalls.append(GuardedRecall(recall, self._guard("recall", recall, "recall")))

    def add_sink(self, sink: Sink) -> None:
        """Take a sink."""
        self.added.sinks.append(GuardedSink(sink, self._guard("sink", sink, "emit")))

    def _guard(self, hook: Hook, thing: Any, method: str) -> Guard:
        if self.closed:
            raise Refused(f"it adds a {hook} after its setup has ended")
        if hook not in self._status.hooks:
            raise Refused(f"it adds a {hook}, which its plugin.toml does not name under hooks")
        named = isinstance(getattr(thing, "name", None), str)
        if not named or not inspect.iscoroutinefunction(getattr(thing, method, None)):
            raise Refused(f"its {hook} needs a `name` and an `async def {method}`")
        guard = Guard(self._status.name, hook, self._limits, self._metrics)
        self.added.guards.append(guard)
        return guard


async def _set_up(found: Found, settings: dict[str, Any], registry: OnePluginsRegistry) -> Reload | None:
    # In a thread, because an import may take long, or for ever.
    module = await in_thread(partial(_attempt, found))
    if isinstance(module, BaseException):
        raise module
    setup = getattr(module, "setup", None)
    if not inspect.iscoroutinefunction(setup):
        raise Refused("it has no `async def setup(registry, settings)`")
    await setup(registry, settings)
    reload = getattr(module, "reload", None)
    return reload if inspect.iscoroutinefunction(reload) else None


def _attempt(found: Found) -> ModuleType | BaseException:
    try:
        return _import(found)
    except BaseException as error:  # noqa: BLE001 - the boundary "one plugin call"
        return error


def _import(found: Found) -> ModuleType:
    if found.module is not None:
        return importlib.import_module(found.module)
    name, inside = f"vtuber_brain_plugin_{found.name}", [str(found.folder)]
    spec = importlib.util.spec_from_file_location(name, found.folder / "__init__.py", submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with contextlib.ExitStack() as unless_imported:
        unless_imported.callback(sys.modules.pop, name)
        spec.loader.exec_module(module)
        unless_imported.pop_all()
    return module
