"""One page of the panel: its parts side by side, and the beat at which all of them draw what has changed."""

import json

from fastapi import Request
from nicegui import ui
from prometheus_client import CollectorRegistry

from vtuber_brain.control.guard import INSIDE
from vtuber_brain.panel.bar import LANGUAGE, THEME, Bar
from vtuber_brain.panel.chat import Chat
from vtuber_brain.panel.her import Her
from vtuber_brain.panel.seat import Seat, Studio
from vtuber_brain.panel.shortcuts import shortcuts
from vtuber_brain.panel.tabs import Tabs
from vtuber_brain.panel.texts import language_of, texts
from vtuber_brain.panel.widgets import STATIC

BEAT_S = 0.25


def build(studio: Studio, registry: CollectorRegistry) -> None:
    """Have NiceGUI serve the page."""
    ui.add_css((STATIC / "panel.css").read_text(encoding="utf-8"), shared=True)
    ui.add_body_html(f"<script>{(STATIC / 'keys.js').read_text(encoding='utf-8')}</script>", shared=True)

    @ui.page("/", title="vtuber-brain")
    def main(request: Request) -> None:
        language = language_of(request.cookies.get(LANGUAGE, ""), request.headers.get("accept-language", ""))
        Page(Seat(request.scope[INSIDE], language, texts(language), studio), request.cookies.get(THEME, ""), registry)


class Page:
    """Built where NiceGUI builds a page; draws as long as a browser is connected."""

    def __init__(self, seat: Seat, theme: str, registry: CollectorRegistry) -> None:
        self._seat, self._client = seat, ui.context.client
        self._client.content.classes("panel")
        ui.dark_mode(value={"dark": True, "light": False}.get(theme))
        ui.add_css(f":root {{ --gone: {json.dumps(seat.say['gone'])} }}")
        shown = shortcuts(seat)
        self._bar = Bar(seat, on_help=lambda: shown.set_value(True))
        with ui.element("main").classes("stage-grid"):
            self._chat = Chat(seat)
            self._her = Her(seat)
            self._tabs = Tabs(seat, registry)
        pages = seat.studio.pages
        self._client.on_connect(lambda: pages.add(self._client.id))
        self._client.on_delete(lambda: pages.discard(self._client.id))
        self._seen = 0
        ui.timer(BEAT_S, self._beat)

    async def _beat(self) -> None:
        if not self._client.has_socket_connection:
            return
        board, state = self._seat.studio.board, self._seat.studio.state()
        rows, replies = board.changed(self._seen)
        self._seen = board.version
        self._chat.draw(rows, board.num_lost)
        self._her.draw(replies, state)
        self._bar.draw(state)
        await self._tabs.draw(state)
