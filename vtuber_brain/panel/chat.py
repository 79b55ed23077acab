"""The live chat, what an empty panel says in its place, and the box in which the operator writes as a viewer."""

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from vtuber_brain.control.tokens import Role
from vtuber_brain.panel.board import MAX_ROWS
from vtuber_brain.panel.seat import Seat
from vtuber_brain.panel.widgets import ChatList
from vtuber_brain.runtime.clock import unix_s


class Chat:
    """`draw` with the rows that changed."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._num_lost = seat, 0
        say = seat.say
        with ui.element("section").classes("pane chat"):
            with ui.element("h2"):
                ui.label(say["chat"])
            self._list = ChatList(say, MAX_ROWS, unix_s())
            with self._list:
                self._first_steps()
            self._lost = ui.label().classes("lost")
            self._lost.set_visibility(False)
            with ui.element("div").classes("try" + ("" if seat.may(Role.MODERATOR) else " locked")):
                self._name = ui.input(value="Nadia").props(
                    f'dense outlined maxlength=64 aria-label="{say["try_name"]}"'
                )
                self._name.classes("try-name")
                self._text = ui.input(placeholder=say["try_hint"]).props('dense outlined maxlength=2000 data-focus="/"')
                self._text.classes("try-text").on("keydown.enter", self._send)
                ui.button(icon="send", on_click=self._send, color=None).props(
                    f'unelevated dense aria-label="{say["send"]}"'
                ).classes("accent")

    def draw(self, rows: Sequence[dict[str, Any]], num_lost: int) -> None:
        """Show these rows."""
        if rows:
            self._list.add(rows)
        if num_lost != self._num_lost:
            self._num_lost = num_lost
            self._lost.set_text(self._seat.say["lost"].format(count=num_lost))
            self._lost.set_visibility(True)

    def _first_steps(self) -> None:
        say, where = self._seat.say, self._seat.studio.where
        with ui.element("div").classes("empty"):
            ui.label(say["empty_title"]).classes("card-title")
            with ui.element("ol"):
                for text, code in (
                    (say["empty_try"], None),
                    (say["empty_chat"], where.chat),
                    (say["empty_obs"], where.overlay),
                    (say["empty_keys"], None),
                ):
                    with ui.element("li"):
                        ui.label(text)
                        if code:
                            ui.label(code).classes("code")

    async def _send(self) -> None:
        if text := self._text.value.strip():
            self._text.set_value("")
            body = {"name": self._name.value.strip() or "operator", "text": text}
            await self._seat.order("POST", "/v1/chat", body)
