"""Who is on stage, and which personas and releases stand ready behind it. One change at a time; one that fails changes
nothing. It decides who speaks with which weights; how, is no concern of its.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from vtuber_brain.context.personas import Persona, load_persona, personas
from vtuber_brain.context.prompt import opening
from vtuber_brain.engine.api import Engine
from vtuber_brain.errors import BrainError, ConfigError, EngineDown, LoraRejected, RequestFailed, Unavailable
from vtuber_brain.releases.store import Release, ReleaseStore
from vtuber_brain.roles import Role, Weights, by_name, choose
from vtuber_brain.sections import PersonaSettings

log = structlog.get_logger(__name__)

OPENING_ATTEMPTS = 2
UNKNOWN_LORA = "unknown_lora"
_ANYBODY = {"role": "user", "content": "..."}
"""Some chat templates fold the system message into a user's turn, so an opening is only like a prompt with one."""

OnLora = Callable[[bool, str], None]
"""Hears whether she speaks with the lora she should speak with, and if not, why."""

OnPersona = Callable[[Persona], Callable[[], None]]
"""Reads what a persona is to be judged by, and raises ConfigError against it; what it returns has her judged so."""


class Cast:
    """The personas and releases of one daemon. At most `max_loras` stand ready at once.

    One more takes the place of the one used least recently that is neither on stage nor running.
    """

    def __init__(
        self,
        persona: Persona,
        settings: PersonaSettings,
        *,
        engine: Engine,
        store: ReleaseStore,
        max_loras: int,
        on_lora: OnLora = lambda _up, _reason: None,
        on_persona: OnPersona = lambda _persona: lambda: None,
        base: str | None = None,
    ) -> None:
        self.on_stage = Role(persona)
        self._settings, self._engine, self._store = settings, engine, store
        self._max_loras, self._on_lora, self._on_persona, self._base = max_loras, on_lora, on_persona, base
        self._ready: OrderedDict[str, tuple[Role, Path]] = OrderedDict()  # by the engine's name, the latest used last
        self._running: Counter[str | None] = Counter()
        self._changing = asyncio.Lock()
        self._opened = asyncio.Event()

    @property
    def names(self) -> tuple[str, str]:
        """What viewers call whoever is on stage."""
        persona = self.on_stage.persona
        return persona.name, persona.display_name

    async def open(self) -> None:
        """Put the persona of the settings on stage once the engine is ready, with her lora if it can be had.

        A plainer voice is better than none: with a lora that is refused she starts on the base model.
        """
        async with self._changing:
            persona = self.on_stage.persona
            self.on_stage = await self._open(persona)
            await self._pin_if_possible(self.on_stage)
        self._opened.set()

    @property
    def is_open(self) -> bool:
        """Whether somebody is on stage."""
        return self._opened.is_set()

    async def opened(self) -> None:
        """Wait for the end of `open`."""
        await self._opened.wait()

    def enter(self, role: Role | None = None) -> Role:
        """The role for one reply, from its beginning to `leave`: whatever changes meanwhile, it keeps it."""
        role = role or self.on_stage
        self._running[role.lora] += 1
        return role

    def leave(self, role: Role) -> None:
        """A reply is over."""
        self._running[role.lora] -= 1

    def without_lora(self, role: Role, reason: str) -> Role:
        """The same persona on the base model, for the engine has lost the lora of `role`."""
        plain = Role(role.persona)
        if role.lora is not None:
            self._ready.pop(role.lora, None)
        if self.on_stage.lora == role.lora:
            self.on_stage = Role(self.on_stage.persona)
            self._on_lora(False, reason)
        return plain

    async def use(self, name: str, release: str | None = None) -> Role:
        """Bring a persona on stage. Replies that run end as they began. Raises as `preload`, and Unavailable."""
        async with self._all_or_nothing():
            persona = self._read(name)
            weights = choose(persona, release, self._store, self._base)
            role = await self._make_ready(persona, weights)
            judge_her = self._on_persona(persona)
            if release is not None and weights.published is not None:
                await self._remember(weights.published)
            judge_her()
            self.on_stage = role
        self._on_lora(True, "")
        log.info("persona_on_stage", persona=role.persona.name, release=role.release)
        return role

    async def preload(self, name: str, release: str | None = None) -> Role:
        """Have a persona ready, so that bringing her on stage later takes no time.

        Raises ConfigError (no such persona or release), LoraRejected, EngineDown or RequestFailed, and nothing has
        changed.
        """
        async with self._all_or_nothing():
            persona = self._read(name)
            return await self._make_ready(persona, choose(persona, release, self._store, self._base))

    async def drop(self, name: str, release: str | None = None) -> list[Role]:
        """Take a release, or all of hers that are idle, out of the engine. Raises Unavailable when there is none."""
        async with self._changing:
            wanted = by_name(release) if release is not None else None
            roles = [role for role, _ in self._ready.values() if role.persona.name == name]
            found = [role for role in roles if wanted in (None, role.release)]
            idle = [role for role in found if not self._is_busy(role)]
            if not idle:
                why = "is on stage, or a reply runs on it" if found else "is not loaded"
                raise Unavailable(f"{name}@{wanted or '*'} {why}")
            for role in idle:
                await self._drop(role)
            return idle

    def ready(self, name: str, release: str | None) -> Role:
        """The role that stands ready with this release (None: the base model). Raises Unavailable, ConfigError."""
        for role, _ in self._ready.values():
            if (role.persona.name, role.release) == (name, release):
                return role
        if release is not None:
            raise Unavailable(f"{name}@{release} is not loaded")
        return Role(self._read(name))

    def reread(self, settings: PersonaSettings) -> None:
        """Take over what has changed in the file of the persona on stage. Raises ConfigError."""
        before, self._settings = self._settings, settings
        try:
            persona = self._read(self.on_stage.persona.name)
            self._on_persona(persona)()
        except ConfigError:
            self._settings = before
            raise
        self.on_stage = replace(self.on_stage, persona=persona)

    def listing(self) -> dict[str, Any]:
        """Who is on stage, who stands ready, and every persona with her releases, as JSON can carry it."""
        names = dict.fromkeys([self.on_stage.persona.name, *personas(self._settings.dir)])
        return {
            "on_stage": _shown(self.on_stage),
            "ready": [_shown(role) for role, _ in reversed(self._ready.values())],
            "max_loras": self._max_loras,
            "personas": [{"name": name, **self._releases(name)} for name in names],
        }

    def show(self, name: str) -> dict[str, Any]:
        """One persona: who she is and what she can speak with. Raises ConfigError."""
        persona = self._read(name)
        releases = self._store.releases(name)
        return {
            "name": persona.name,
            "display_name": persona.display_name,
            "language": persona.language,
            "lora": str(persona.lora) if persona.lora is not None else None,
            "on_stage": _shown(self.on_stage) if self.on_stage.persona.name == name else None,
            "ready": [_shown(role) for role, _ in self._ready.values() if role.persona.name == name],
            **self._releases(name),
            "manifests": {release.name: release.manifest for release in releases},
        }

    async def _open(self, persona: Persona) -> Role:
        """The configured role, or the base with the reason told."""
        try:
            weights = choose(persona, None, self._store, self._base)
            for attempt in range(OPENING_ATTEMPTS):
                await self._engine.wait_ready()
                try:
                    role = await self._load(persona, weights)
                except EngineDown:
                    if attempt == OPENING_ATTEMPTS - 1:
                        raise
                else:
                    self._on_lora(True, "")
                    return role
        except (ConfigError, LoraRejected, EngineDown) as error:
            log.error("lora_refused", persona=persona.name, reason=str(error))
            self._on_lora(False, str(error))
        return Role(persona)

    @contextlib.asynccontextmanager
    async def _all_or_nothing(self) -> AsyncIterator[None]:
        """One change; if it fails, what was ready before is ready again."""
        async with self._changing:
            before = dict(self._ready)
            try:
                yield
            except BrainError:
                await self._return_to(before)
                raise

    async def _make_ready(self, persona: Persona, weights: Weights) -> Role:
        role = await self._load(persona, weights)
        try:
            await self._pin(role)
        except RequestFailed as failure:
            if role.lora is None or failure.code != UNKNOWN_LORA:
                raise
            del self._ready[role.lora]  # a worker that was started again could not take it in; now it will say why
            role = await self._load(persona, weights)
            await self._pin(role)
        return role

    async def _load(self, persona: Persona, weights: Weights) -> Role:
        if weights.path is None:
            return Role(persona)
        role = Role(persona, weights.release, f"{persona.name}@{weights.release}")
        assert role.lora is not None
        # A release never changes; a directory that somebody names may hold something else by now.
        if role.lora not in self._ready or weights.published is None:
            if role.lora not in self._ready:
                await self._make_room()
            await self._engine.load_lora(role.lora, weights.path)
        self._ready[role.lora] = role, weights.path
        self._ready.move_to_end(role.lora)
        return role

    async def _make_room(self) -> None:
        idle = [role for role, _ in self._ready.values() if not self._is_busy(role)]
        for role in idle[: max(0, len(self._ready) + 1 - self._max_loras)]:
            await self._drop(role)

    async def _drop(self, role: Role) -> None:
        assert role.lora is not None
        self._ready.pop(role.lora, None)
        await self._engine.drop_lora(role.lora)

    async def _return_to(self, before: dict[str, tuple[Role, Path]]) -> None:
        for role, _ in [entry for lora, entry in self._ready.items() if lora not in before]:
            await self._drop(role)
        for lora, entry in before.items():
            if lora not in self._ready:
                with contextlib.suppress(LoraRejected, EngineDown):
                    await self._engine.load_lora(lora, entry[1])
                    self._ready[lora] = entry

    def _is_busy(self, role: Role) -> bool:
        return role.lora == self.on_stage.lora or self._running[role.lora] > 0

    async def _pin(self, role: Role) -> None:
        await self._engine.pin(role.label, [*opening(role.persona), _ANYBODY], role.lora)

    async def _pin_if_possible(self, role: Role) -> None:
        try:
            await self._pin(role)
        except (EngineDown, RequestFailed) as error:
            log.warning("opening_not_kept", persona=role.persona.name, reason=str(error))

    async def _remember(self, release: Release) -> None:
        try:
            await asyncio.to_thread(self._store.make_current, release)
        except OSError as error:
            raise Unavailable(f"{release.persona}'s current release cannot be written down: {error}") from None

    def _read(self, name: str) -> Persona:
        configured = self._settings.name
        return load_persona(configured if Path(configured).stem == name else name, self._settings.dir)

    def _releases(self, name: str) -> dict[str, Any]:
        try:
            current = self._store.current(name)
        except ConfigError:
            current = None
        releases = [release.name for release in self._store.releases(name)]
        return {"current": current.name if current is not None else None, "releases": releases}


def _shown(role: Role) -> dict[str, str | None]:
    return {"persona": role.persona.name, "release": role.release}
