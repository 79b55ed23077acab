"""The messages that wait for a human's decision."""

from urllib.parse import quote

from nicegui import ui
from nicegui.events import GenericEventArguments

from vtuber_brain.control.models import State
from vtuber_brain.control.tokens import Role
from vtuber_brain.panel.seat import Seat
from vtuber_brain.panel.widgets import HeldList
from vtuber_brain.runtime.clock import now_s

AGAIN_S = 1.0


class HeldTab:
    """Asks for them when their number changes, and now and then while there are any: others decide too."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._num, self._asked_s = seat, -1, 0.0
        ui.label(seat.say["held_how"]).classes("hint")
        self._none = ui.label(seat.say["held_none"]).classes("quiet")
        self._list = HeldList(seat.say)
        self._list.on("decide", self._decide)

    async def draw(self, state: State) -> None:
        """See Tab."""
        num = state.queues["held"].waiting
        if not self._seat.may(Role.MODERATOR):
            self._none.set_text(self._seat.say["no_look"])
            return
        if num != self._num or (num and now_s() - self._asked_s > AGAIN_S):
            await self._ask()

    async def _ask(self) -> None:
        told = await self._seat.ask("/v1/held")
        held = told.body.get("held", []) if told.ok else []
        self._num, self._asked_s = len(held), now_s()
        self._list.show(held)
        self._none.set_visibility(not held)

    async def _decide(self, event: GenericEventArguments) -> None:
        decision = "allow" if event.args["allow"] else "deny"
        path = f"/v1/held/{quote(str(event.args['id']), safe='')}/{decision}"
        await self._seat.order("POST", path, {"source": event.args["source"]})
        await self._ask()
