"""One operator before one page: who it is, in which language, and how what they want is asked of the API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nicegui import ui

from vtuber_brain.control.inside import Inside, Told
from vtuber_brain.control.models import State
from vtuber_brain.control.ports import Brain
from vtuber_brain.control.tokens import Role, Who
from vtuber_brain.panel.addresses import Addresses
from vtuber_brain.panel.board import Board
from vtuber_brain.panel.figures import Figures
from vtuber_brain.runtime.clock import now_s

STATE_S = 0.2
FORBIDDEN = 403


@dataclass(slots=True)
class Studio:
    """What all pages share. `voice_up`: whether the voice's page answered when it was last looked for."""

    brain: Brain
    inside: Inside
    board: Board
    figures: Figures
    where: Addresses
    voice_up: bool = False
    pages: set[str] = field(default_factory=set)
    _state: State | None = field(default=None, repr=False)
    _looked_s: float = 0.0

    def state(self) -> State:
        """How she is; looked at no more than every STATE_S, however many pages ask."""
        if self._state is None or now_s() - self._looked_s > STATE_S:
            self._state, self._looked_s = self.brain.state(), now_s()
        return self._state

    def look_again(self) -> None:
        """Something was done: the next look is a fresh one."""
        self._state = None


@dataclass(frozen=True, slots=True)
class Seat:
    """`say` are the words of the operator's language."""

    who: Who
    language: str
    say: Mapping[str, str]
    studio: Studio

    def may(self, role: Role) -> bool:
        """Whether the API would let this role through; only for what is shown, the API decides."""
        return Role[self.who.role.upper()] >= role

    async def ask(self, path: str) -> Told:
        """Look at something."""
        return await self.studio.inside.ask(self.who, "GET", path)

    async def order(self, method: str, path: str, body: dict[str, Any] | None = None, done: str = "") -> Told:
        """Have something done; says what came of it: why not, or `done`, a key of the words."""
        told = await self.studio.inside.ask(self.who, method, path, body)
        self.studio.look_again()
        if not told.ok:
            key = "not_allowed" if told.status == FORBIDDEN else "not_done"
            ui.notify(self.say[key].format(detail=told.detail), type="negative", position="bottom")
        elif done:
            ui.notify(self.say[done], type="positive", position="bottom", timeout=1500)
        return told
