"""What she thinks, says and has said, and the operator's opinion of it: what she learns from."""

from collections.abc import Sequence
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

from vtuber_brain.control.models import State, ThoughtShown
from vtuber_brain.control.tokens import Role
from vtuber_brain.panel.board import MAX_REPLIES
from vtuber_brain.panel.seat import Seat
from vtuber_brain.panel.widgets import Speech


class Opinions:
    """Has the buttons of `speech` rate and correct replies: those of the board, and `past` ones it need not know."""

    def __init__(self, seat: Seat, speech: Speech, past: Sequence[dict[str, Any]] = ()) -> None:
        self._seat, self._speech = seat, speech
        self._past = {reply["id"]: reply for reply in past}
        speech.on("rate", self._rate)
        speech.on("edit", lambda event: self._ask(str(event.args["id"])))

    async def _rate(self, event: GenericEventArguments) -> None:
        reply_id, rating = str(event.args["id"]), event.args["rating"]
        told = await self._seat.order("POST", f"/v1/replies/{reply_id}/rating", {"rating": rating}, done="noted")
        if told.ok:
            self._note(reply_id, rating, None)

    def _ask(self, reply_id: str) -> None:
        say, known = self._seat.say, self._past.get(reply_id) or self._seat.studio.board.known(reply_id)
        before = (known["edited"] or " ".join(known["said"])) if known is not None else ""
        with ui.dialog(value=True) as dialog, ui.card().classes("asking"):
            ui.label(say["correct_title"]).classes("card-title")
            ui.label(say["correct_how"]).classes("hint")
            text = ui.textarea(value=before).props("outlined autofocus maxlength=2000").classes("wide")

            async def keep() -> None:
                told = await self._seat.order("PUT", f"/v1/replies/{reply_id}/text", {"text": text.value}, done="noted")
                if told.ok:
                    self._note(reply_id, 1, " ".join(text.value.split()))
                    dialog.close()

            text.on("keydown.ctrl.enter", keep)
            with ui.element("div").classes("buttons"):
                ui.button(say["cancel"], on_click=dialog.close, color=None).props("flat no-caps")
                ui.button(say["keep"], on_click=keep, color=None).props("unelevated no-caps").classes("accent")
        dialog.on("hide", dialog.delete)

    def _note(self, reply_id: str, rating: int, text: str | None) -> None:
        self._seat.studio.board.rated(reply_id, rating, text)
        if (reply := self._past.get(reply_id)) is not None:
            reply |= {"rating": rating, "edited": text or reply["edited"]}
            self._speech.add([reply])


class Her:
    """`draw` with the replies that changed, and with every state for what she thinks."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._thoughts: list[dict[str, Any]] = []
        with ui.element("section").classes("pane her"):
            with ui.element("h2"):
                ui.label(seat.say["her"])
            speech = Speech(seat.say, MAX_REPLIES, may_rate=seat.may(Role.MODERATOR), may_edit=seat.may(Role.OWNER))
            Opinions(seat, speech)
        self._speech = speech

    def draw(self, replies: Sequence[dict[str, Any]], state: State) -> None:
        """Show what she does."""
        if replies:
            self._speech.add(replies)
        thoughts = [self._thought(one, state.speaking) for one in state.thoughts if not one.sentences]
        if thoughts or self._thoughts:
            self._speech.think(thoughts)
        self._thoughts = thoughts

    def _thought(self, thought: ThoughtShown, speaking: str | None) -> dict[str, Any]:
        author, text = self._seat.studio.board.text_of(thought.source, thought.message_id)
        return {
            "id": thought.reply_id,
            "stage": thought.stage,
            "age": thought.age_s,
            "speaking": thought.reply_id == speaking,
            "author": author,
            "text": text,
        }
