"""The stage: the overlay as viewers see it, and who is to be on it, heard beforehand."""

from typing import Any

from nicegui import ui

from vtuber_brain.control.models import State
from vtuber_brain.control.tokens import Role
from vtuber_brain.panel.seat import Seat
from vtuber_brain.panel.widgets import OverlayFrame

BASE, OWN = "base", ""
"""What she may be given beside her releases: the base model, or what is hers as things stand."""


class StageTab:
    """The choice follows who is on stage until the operator has chosen."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._is_up, self._on_stage = seat, False, ("", "")
        self._releases: dict[str, list[str]] = {}
        self._overlay = ui.element("div").classes("overlay-box")
        with self._overlay:
            ui.label(seat.say["overlay_off"]).classes("quiet")
        ui.label(seat.say["overlay_obs"].format(url=seat.studio.where.overlay)).classes("hint")
        with ui.element("div").classes("casting" + ("" if seat.may(Role.OWNER) else " locked")):
            self._casting()

    async def draw(self, state: State) -> None:
        """See Tab."""
        if self._seat.studio.voice_up != self._is_up:
            self._is_up = self._seat.studio.voice_up
            self._draw_overlay()
        on_stage = state.persona, state.release or BASE
        if on_stage != self._on_stage:
            self._on_stage = on_stage
            await self._ask(*on_stage)

    def _draw_overlay(self) -> None:
        url = f"{self._seat.studio.where.overlay}?muted=1"
        self._overlay.clear()
        with self._overlay:
            if self._is_up:
                OverlayFrame(url, self._seat.say["overlay"])
            else:
                ui.label(self._seat.say["overlay_off"]).classes("quiet")

    def _casting(self) -> None:
        say = self._seat.say
        with ui.element("div").classes("line"):
            self._persona = ui.select([], label=say["persona"], on_change=self._of_persona).props("dense outlined")
            self._release = ui.select([], label=say["release"]).props("dense outlined")
        self._persona.classes("grow")
        self._release.classes("grow")
        with ui.element("div").classes("line"):
            self._text = ui.input(placeholder=say["preview_ask"]).props("dense outlined maxlength=500").classes("grow")
            self._text.on("keydown.enter", self._preview)
            ui.button(say["preview"], on_click=self._preview, color=None).props("unelevated no-caps").classes("plain")
        self._line = ui.label(say["preview_how"]).classes("preview")
        self._reasons = ui.label().classes("reason")
        ui.button(say["to_stage"], on_click=self._sure, color=None).props("unelevated no-caps").classes("accent wide")

    async def _ask(self, persona: str, release: str) -> None:
        told = await self._seat.ask("/v1/personas")
        if not told.ok:
            return
        self._releases = {one["name"]: one["releases"] for one in told.body["personas"]}
        self._persona.set_options(list(self._releases), value=persona)
        self._offer(persona, release)

    def _of_persona(self) -> None:
        if (name := self._persona.value) in self._releases:
            self._offer(name, OWN)

    def _offer(self, persona: str, release: str) -> None:
        releases = self._releases.get(persona, [])
        offered = {OWN: self._seat.say["her_own"], BASE: self._seat.say["base"], **dict.fromkeys(releases)}
        labels = {value: label or value for value, label in offered.items()}
        self._release.set_options(labels, value=release if release in labels else OWN)

    def _chosen(self) -> dict[str, Any]:
        return {"name": self._persona.value, "release": self._release.value or None}

    async def _preview(self) -> None:
        say, text = self._seat.say, self._text.value.strip()
        self._line.set_text(say["preview_wait"])
        self._reasons.set_text("")
        told = await self._seat.order("POST", "/v1/preview", self._chosen() | ({"text": text} if text else {}))
        line = told.body["data"]["text"] if told.ok else say["preview_how"]
        self._line.set_text(line)
        if told.ok and (reasons := told.body["data"]["reasons"]):
            self._reasons.set_text(say["preview_denied"].format(reasons=", ".join(reasons)))

    def _sure(self) -> None:
        say, chosen = self._seat.say, self._chosen()
        who = f"{chosen['name']}, {chosen['release'] or say['her_own']}"
        with ui.dialog(value=True) as dialog, ui.card().classes("asking"):
            ui.label(say["sure_stage"].format(who=who)).classes("card-title")

            async def put() -> None:
                dialog.close()
                told = await self._seat.order("POST", "/v1/persona", chosen)
                if told.ok:
                    ui.notify(say["now_on_stage"].format(who=who), type="positive", position="bottom")

            with ui.element("div").classes("buttons"):
                ui.button(say["cancel"], on_click=dialog.close, color=None).props("flat no-caps")
                ui.button(say["to_stage"], on_click=put, color=None).props("unelevated no-caps autofocus").classes(
                    "accent"
                )
        dialog.on("hide", dialog.delete)
