"""The operator's own block list."""

from urllib.parse import quote

from nicegui import ui

from vtuber_brain.control.models import State
from vtuber_brain.control.tokens import Role
from vtuber_brain.panel.seat import Seat
from vtuber_brain.runtime.clock import now_s

AGAIN_S = 5.0


class WordsTab:
    """Drawn anew when the list is another."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._asked_s = seat, 0.0
        self._entries: list[str] | None = None
        ui.label(seat.say["words_how"]).classes("hint")
        with ui.element("div").classes("line"):
            self._text = (
                ui.input(placeholder=seat.say["words_add"]).props("dense outlined maxlength=100").classes("grow")
            )
            self._text.on("keydown.enter", self._add)
            ui.button(seat.say["add"], on_click=self._add, color=None).props("unelevated no-caps").classes("accent")
        self._list = ui.element("div").classes("words")

    async def draw(self, _: State) -> None:
        """See Tab."""
        if now_s() - self._asked_s > AGAIN_S:
            await self._ask()

    async def _ask(self) -> None:
        self._asked_s = now_s()
        if not self._seat.may(Role.MODERATOR):
            self._show([], self._seat.say["no_look"])
            return
        told = await self._seat.ask("/v1/blocklist")
        self._show(told.body.get("entries", []), self._seat.say["words_none"] if told.ok else told.detail)

    def _show(self, entries: list[str], none: str) -> None:
        if entries == self._entries:
            return
        self._entries = entries
        self._list.clear()
        with self._list:
            for entry in entries:
                with ui.element("span").classes("word"):
                    ui.label(entry)
                    button = ui.button(icon="close", color=None, on_click=lambda _, one=entry: self._remove(one))
                    what = self._seat.say["remove"].format(what=entry).replace('"', "")
                    button.props("flat round dense size=xs").props(f'aria-label="{what}"')
            if not entries:
                ui.label(none).classes("quiet")

    async def _add(self) -> None:
        if entry := self._text.value.strip():
            told = await self._seat.order("POST", "/v1/blocklist", {"entry": entry})
            if told.ok:
                self._text.set_value("")
            await self._ask()

    async def _remove(self, entry: str) -> None:
        await self._seat.order("DELETE", f"/v1/blocklist?entry={quote(entry, safe='')}")
        await self._ask()
