"""What is over: replies of the transcripts, the last night's report, who did what."""

from datetime import UTC, datetime
from typing import Any

from nicegui import ui

from vtuber_brain.control.models import State
from vtuber_brain.control.tokens import Role
from vtuber_brain.panel.her import Opinions
from vtuber_brain.panel.seat import Seat
from vtuber_brain.panel.widgets import Speech
from vtuber_brain.runtime.clock import now_s

AGAIN_S = 5.0
MAX_SHOWN = 50


class RepliesTab:
    """The latest replies that were heard, of this stream and those before, to be rated and corrected."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._is_asked = seat, False
        with ui.element("div").classes("line"):
            self._unrated = ui.checkbox(seat.say["unrated"], value=True, on_change=self._ask).classes("grow")
            ui.button(icon="refresh", on_click=self._ask, color=None).props(
                f'flat round dense aria-label="{seat.say["refresh"]}"'
            )
        self._none = ui.label(seat.say["no_replies"]).classes("quiet")
        self._list = ui.element("div")

    async def draw(self, _: State) -> None:
        """See Tab. Asks once; what changes while it is read would move under the operator's hand."""
        if not self._is_asked:
            self._is_asked = True
            await self._ask()

    async def _ask(self) -> None:
        if not self._seat.may(Role.MODERATOR):
            self._none.set_text(self._seat.say["no_look"])
            return
        unrated = "true" if self._unrated.value else "false"
        told = await self._seat.ask(f"/v1/replies?limit={MAX_SHOWN}&unrated={unrated}")
        found = told.body.get("replies", []) if told.ok else []
        self._none.set_visibility(not found)
        self._none.set_text(self._seat.say["no_replies"] if told.ok else told.detail)
        self._list.clear()
        past = [_as_reply(one) for one in reversed(found)]
        if past:
            with self._list:
                speech = Speech(self._seat.say, MAX_SHOWN, may_rate=True, may_edit=self._seat.may(Role.OWNER))
            Opinions(self._seat, speech, past)
            speech.add(past)


def _as_reply(one: dict[str, Any]) -> dict[str, Any]:
    asked = {"author": one["viewer"] or "", "text": one["said"] or "", "source": "", "id": ""}
    return {
        "id": one["reply_id"],
        "asked": asked,
        "said": [one["heard_text"]],
        "state": "spoken",
        "reason": None,
        "mood": None,
        "at": one["at"],
        "timings": {},
        "rating": one["rating"],
        "edited": one["edited_text"],
        "own": False,
    }


class NightTab:
    """The last night's report, in a frame without scripts and without our origin."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._is_asked = seat, False
        self._box = ui.element("div").classes("night")

    async def draw(self, _: State) -> None:
        """See Tab."""
        if self._is_asked:
            return
        self._is_asked = True
        say = self._seat.say
        told = await self._seat.ask("/v1/night") if self._seat.may(Role.MODERATOR) else None
        with self._box:
            if told is None or not told.ok:
                ui.label(say["no_look"] if told is None else told.detail).classes("quiet")
            elif told.body["night"] is None:
                ui.label(say["night_none"]).classes("quiet")
            else:
                with ui.element("div").classes("line"):
                    ui.label(say["night_of"].format(night=told.body["night"])).classes("card-title grow")
                    ui.link(say["open_page"], "/night", new_tab=True)
                ui.element("iframe").props('src="/night" sandbox="" title="report"').classes("report")


class AuditTab:
    """The latest actions, the newest first."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._asked_s = seat, -AGAIN_S
        self._shown: list[dict[str, Any]] | None = None
        self._list = ui.element("div").classes("audit")

    async def draw(self, _: State) -> None:
        """See Tab."""
        if now_s() - self._asked_s < AGAIN_S:
            return
        self._asked_s = now_s()
        if not self._seat.may(Role.OWNER):
            self._show([], self._seat.say["no_look"])
            return
        told = await self._seat.ask(f"/v1/audit?limit={MAX_SHOWN}")
        self._show(told.body.get("entries", []), self._seat.say["audit_none"] if told.ok else told.detail)

    def _show(self, entries: list[dict[str, Any]], none: str) -> None:
        if entries == self._shown:
            return
        self._shown = entries
        self._list.clear()
        with self._list:
            for entry in entries:
                at = datetime.fromtimestamp(entry["at"], UTC).astimezone().strftime("%H:%M:%S")
                with ui.element("div").classes("deed" + ("" if entry["outcome"] == "ok" else " not-ok")):
                    ui.label(at).classes("age")
                    ui.label(f"{entry['role']} {entry['token'][:4]}".strip()).classes("by")
                    ui.label(entry["action"]).classes("action")
                    ui.label(" ".join(str(value) for value in entry["arguments"].values())).classes("what")
                    ui.label(entry["outcome"]).classes("outcome")
            if not entries:
                ui.label(none).classes("quiet")
