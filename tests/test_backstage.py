"""Beside the show: a line that nobody else hears, a message as a viewer, replies and the night that are over."""

import asyncio

from tests.control.test_actions import answered, fake_lora
from tests.support.operators import operated
from vtuber_brain.config import state_dir
from vtuber_brain.messages import Turn, Utterance

PREVIEW = {"name": "mori", "release": "nightly", "text": "Do you like tea?"}


async def test_a_preview_is_made_with_the_release_that_is_asked_for_and_published_nowhere():
    async with operated(lambda _: ["[smile] With honey, always. ", "You?"]) as one:
        fake_lora(state_dir() / "personas" / "mori" / "releases" / "nightly")
        code, told = await one.call("POST", "/v1/preview", json=PREVIEW)
        assert (code, told["data"]["text"], told["data"]["reasons"]) == (200, "With honey, always. You?", [])
        (request,) = one.engine.requests
        assert (request.lora, request.priority) == ("mori@nightly", -1)
        assert "Do you like tea?" in request.messages[-1]["content"]
        assert one.out.of(Utterance) == one.out.of(Turn) == []
        assert one.cast.on_stage.release != "nightly"
        (audited, loaded) = one.audit.latest(10)
        assert (audited["action"], loaded["action"]) == ("preview", "preload")
        assert "tea" not in str(audited)


async def test_a_preview_tells_what_the_gate_would_say_of_it():
    async with operated(lambda _: ["Visit https://spam.invalid today."]) as one:
        _, told = await one.call("POST", "/v1/preview", json={"name": "mori", "release": "base"})
        assert told["data"]["reasons"] == ["links"]


async def test_a_preview_of_what_is_not_there_or_by_whom_it_may_not_is_refused():
    async with operated() as one:
        assert (await one.call("POST", "/v1/preview", json={"name": "nobody"}))[0] == 409
        assert (await one.call("POST", "/v1/preview", json=PREVIEW))[0] == 409
        assert (await one.call("POST", "/v1/preview", "moderator", json=PREVIEW))[0] == 403
        assert one.engine.requests == []


async def test_a_release_that_is_heard_in_a_preview_cannot_be_dropped_meanwhile():
    going_on = asyncio.Event()
    async with operated(lambda _: ["One moment. ", going_on, "Done."]) as one:
        fake_lora(state_dir() / "personas" / "mori" / "releases" / "nightly")
        running = asyncio.create_task(one.call("POST", "/v1/preview", json=PREVIEW))
        async with asyncio.timeout(10):
            while not one.engine.requests:
                await asyncio.sleep(0.01)
        assert (await one.call("POST", "/v1/drop", json={"name": "mori", "release": "nightly"}))[0] != 200
        going_on.set()
        assert (await running)[0] == 200
        assert (await one.call("POST", "/v1/drop", json={"name": "mori", "release": "nightly"}))[0] == 200


async def test_what_is_written_as_a_viewer_is_answered_like_any_message_and_read_by_those_who_listen():
    async with operated() as one:
        reader = one.feed.open()
        code, told = await one.call("POST", "/v1/chat", "moderator", json={"name": "Nadia", "text": "Hello Mori!"})
        assert (code, told["data"]["source"]) == (200, "panel")
        await one.out.until(lambda out: out.of(Turn))
        assert one.out.of(Turn)[0].message.author.name == "Nadia"
        kinds = [(await reader.next(1))[0] for _ in range(3)]
        assert kinds == ["message", "verdict", "utterance"]
        assert "Hello" not in (state_dir() / "audit.jsonl").read_text()
        assert (await one.call("POST", "/v1/chat", "viewer", json={"text": "Hello Mori!"}))[0] == 403


async def test_replies_come_with_the_last_word_on_each():
    async with operated() as one:
        first = await answered(one, "Hello Mori!")
        second = await answered(one, "How are you?", number="m2")
        await one.call("POST", f"/v1/replies/{first.reply_id}/rating", json={"rating": -1})
        _, told = await one.call("GET", "/v1/replies", "moderator")
        assert [(reply["reply_id"], reply["rating"]) for reply in told["replies"]] == [
            (second.reply_id, None),
            (first.reply_id, -1),
        ]
        _, told = await one.call("GET", "/v1/replies?unrated=true", "moderator")
        assert [reply["reply_id"] for reply in told["replies"]] == [second.reply_id]


async def test_the_report_of_the_latest_night_is_given_and_none_where_there_was_none():
    async with operated() as one:
        assert (await one.call("GET", "/v1/night"))[1] == {"persona": "mori", "night": None, "report": None}
        for night, text in (("2026-05-02", "second"), ("2026-05-02.2", "third"), ("2026-04-30", "first"), ("x", "no")):
            folder = state_dir() / "retrain" / "mori" / night
            folder.mkdir(parents=True)
            (folder / "report-0123.html").write_text(f"<h1>{text}</h1>")
        _, told = await one.call("GET", "/v1/night")
        assert (told["night"], told["report"]) == ("2026-05-02.2", "<h1>third</h1>")
