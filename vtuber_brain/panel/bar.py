"""The bar at the top: who is on stage and how she is, and what stops her."""

from collections.abc import Callable
from typing import Any

from nicegui import ui

from vtuber_brain.control.models import State
from vtuber_brain.control.tokens import Role
from vtuber_brain.panel.seat import Seat
from vtuber_brain.panel.texts import LANGUAGES

LANGUAGE, THEME = "vtb_lang", "vtb_theme"
"""Cookies of the page's own; nothing depends on them but how it looks."""
_KEPT = "path=/; max-age=31536000; samesite=strict"
_TURN = f"""() => {{
  const dark = !document.body.classList.contains("body--dark");
  setDark(dark);
  document.cookie = "{THEME}=" + (dark ? "dark" : "light") + "; {_KEPT}";
}}"""
_SPEAK = f"""() => {{{{
  document.cookie = "{LANGUAGE}={{language}}; {_KEPT}";
  location.reload();
}}}}"""


class Bar:
    """`draw` with every state."""

    def __init__(self, seat: Seat, on_help: Callable[[], object]) -> None:
        self._seat, self._muted = seat, False
        say = seat.say
        with ui.element("header").classes("bar"):
            with ui.element("div").classes("who-is-on"):
                self._state = ui.label().classes("chip")
                self._name = ui.label().classes("name")
                self._release = ui.label().classes("release")
            self._queues = ui.label().classes("queues")
            ui.element("div").classes("grow")
            self._text = ui.input(placeholder=say["say_hint"]).props('dense outlined maxlength=2000 data-focus="t"')
            self._text.classes("say" + self._locked(Role.OWNER)).on("keydown.enter", self._say)
            skip = ui.button(say["skip"], on_click=self._skip, color=None).props('no-caps unelevated data-key="s"')
            skip.classes("skip" + self._locked(Role.MODERATOR))
            self._mute = ui.button(on_click=self._mute_or_not, color=None).props(
                'no-caps unelevated data-key="m space"'
            )
            self._mute.classes("mute" + self._locked(Role.MODERATOR))
            self._tools(on_help)
            for button, key in ((skip, "S"), (self._mute, "M")):
                with button:
                    ui.element("kbd").classes("key-hint").props("aria-hidden=true")._text = key
        self._shown: Any = None

    def draw(self, state: State) -> None:
        """Show how she is."""
        say = self._seat.say
        queues = " · ".join(
            f"{say[f'queue_{name}']} {state.queues[name].waiting}" for name in ("chat", "money", "held")
        )
        shown = state.state, state.display_name, state.release, queues, "muted" in state.reasons
        if shown == self._shown:
            return
        self._shown, self._muted = shown, shown[4]
        self._state.set_text(say[f"state_{state.state}"])
        self._state.classes(replace=f"chip state-{state.state}")
        self._name.set_text(state.display_name)
        self._release.set_text((state.release or say["base"]).rpartition("/")[2])
        self._queues.set_text(f"{say['waiting']}: {queues}")
        self._mute.set_text(say["unmute" if self._muted else "mute"])
        (self._mute.classes(add="is-muted") if self._muted else self._mute.classes(remove="is-muted"))

    def _tools(self, on_help: Callable[[], object]) -> None:
        say, seat = self._seat.say, self._seat
        other = next(language for language in LANGUAGES if language != seat.language)
        with ui.element("div").classes("tools"):
            _tool("contrast", say["theme"]).props('data-key="l"').on("click", js_handler=_TURN)
            _tool("translate", say["language"]).on("click", js_handler=_SPEAK.format(language=other))
            _tool("keyboard", say["shortcuts"]).props('data-key="?"').on("click", on_help)
            with ui.element("form").props('method="post" action="/logout"'):
                leave = ui.button(icon="logout", color=None).props("flat round dense type=submit").classes("tool")
                leave.tooltip(f"{say['leave']} ({say['role_' + seat.who.role]})").props(f'aria-label="{say["leave"]}"')

    def _locked(self, role: Role) -> str:
        return "" if self._seat.may(role) else " locked"

    async def _mute_or_not(self) -> None:
        await self._seat.order("POST", "/v1/unmute" if self._muted else "/v1/mute")

    async def _skip(self) -> None:
        await self._seat.order("POST", "/v1/skip")

    async def _say(self) -> None:
        if text := self._text.value.strip():
            told = await self._seat.order("POST", "/v1/say", {"text": text}, done="said_it")
            if told.ok:
                self._text.set_value("")


def _tool(icon: str, what: str) -> ui.button:
    button = ui.button(icon=icon, color=None).props("flat round dense").classes("tool")
    return button.props(f'aria-label="{what}"').tooltip(what)
