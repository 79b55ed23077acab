"""What the operator does over HTTP: by the same commands as on the bus, at once where it must be, written down."""

import asyncio
import sqlite3
import time

from tests.support.operators import TOKENS, operated
from tests.support.scripted import message
from vtuber_brain.bus import control
from vtuber_brain.config import state_dir
from vtuber_brain.control.tokens import BUS
from vtuber_brain.desk import MAX_WAITING
from vtuber_brain.messages import Turn, Utterance
from vtuber_brain.nights import JOURNAL, LOCK, NIGHTS
from vtuber_brain.runtime.lease import held


def fake_lora(folder):
    """As much of a lora as the scripted engine asks for."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")


async def answered(one, text, author="nadia", number="m1"):
    """Say something as a viewer and wait for the reply's end."""
    before = len(one.out.of(Turn))
    await one.pipeline.receive(message(text, author, number))
    await one.out.until(lambda out: len(out.of(Turn)) > before)
    return one.out.of(Turn)[-1]


def actions(one):
    return [(entry["role"], entry["action"], entry["outcome"]) for entry in reversed(one.audit.latest(1000))]


async def test_a_mute_does_not_wait_for_a_change_on_stage_that_hangs():
    async with operated() as one:
        one.engine.loading = asyncio.Event()
        folder = state_dir() / "personas" / "mori" / "releases" / "slow"
        fake_lora(folder)
        hanging = asyncio.create_task(one.call("POST", "/v1/persona", json={"name": "mori", "release": "slow"}))
        queued = asyncio.create_task(one.call("POST", "/v1/preload", json={"name": "mori", "release": "base"}))
        await asyncio.sleep(0.1)
        start_s = time.perf_counter()
        code, _ = await one.call("POST", "/v1/mute", "moderator")
        took_s = time.perf_counter() - start_s
        assert (code, one.pipeline.muted) == (200, True)
        assert took_s < 0.1
        assert (await one.call("GET", "/v1/held"))[0] == 200
        assert not hanging.done()
        assert not queued.done()
        one.engine.loading.set()
        assert (await hanging)[0] == (await queued)[0] == 200


async def test_long_commands_are_done_one_at_a_time_and_too_many_are_turned_away():
    async with operated() as one:
        one.engine.loading = asyncio.Event()
        fake_lora(state_dir() / "personas" / "mori" / "releases" / "slow")
        body = {"name": "mori", "release": "slow"}
        waiting = [asyncio.create_task(one.desk.order(BUS, "preload", **body)) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        code, told = await one.call("POST", "/v1/preload", json=body)
        assert (code, told["code"]) == (503, "busy")
        one.engine.loading.set()
        assert all(done.ok for done in await asyncio.gather(*waiting))


async def test_releases_that_cannot_be_read_fail_the_question_and_nothing_else(monkeypatch):
    async with operated() as one:
        (state_dir() / "personas" / "mori" / "releases").mkdir(parents=True)

        def locked(_folder):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("pathlib.Path.iterdir", locked)
        for command in (control.Personas(command="personas"), control.Show(command="show", name="mori")):
            told = await one.desk.obey(command)
            assert (told.code, "Permission denied" in told.detail) == ("failed", True)


async def test_every_action_is_written_down_whichever_way_it_comes_and_questions_are_not():
    async with operated() as one:
        await one.desk.obey(control.Mute(command="mute"))
        await one.call("POST", "/v1/unmute", "moderator")
        await one.call("POST", "/v1/skip", "moderator")
        await one.call("POST", "/v1/say", json={"text": "Back in five minutes."})
        await one.call("POST", "/v1/say", json={"text": "visit https://spam.invalid today"})
        await one.call("POST", "/v1/persona", json={"name": "nobody"})
        await one.call("POST", "/v1/reload")
        await one.call("POST", "/v1/sleep")
        await one.call("POST", "/v1/wake")
        for path in ("/v1/state", "/v1/held", "/v1/personas", "/v1/personas/mori", "/v1/blocklist", "/v1/audit"):
            assert (await one.call("GET", path))[0] == 200, path
        assert actions(one) == [
            ("bus", "mute", "ok"),
            ("moderator", "unmute", "ok"),
            ("moderator", "skip", "nothing_to_skip"),
            ("owner", "say", "ok"),
            ("owner", "say", "denied"),
            ("owner", "persona", "failed"),
            ("owner", "reload", "ok"),
            ("owner", "sleep", "ok"),
            ("owner", "wake", "ok"),
        ]
        _, page = await one.call("GET", "/v1/audit?limit=2")
        assert [entry["action"] for entry in page["entries"]] == ["wake", "sleep"]
        assert TOKENS["owner"] not in (state_dir() / "audit.jsonl").read_text()
        assert page["entries"][0]["address"] == "127.0.0.1"


async def test_what_is_said_over_http_passes_the_gate():
    async with operated() as one:
        code, told = await one.call("POST", "/v1/say", json={"text": "Five minutes to go."})
        assert (code, told["ok"]) == (200, True)
        assert [said.text for said in one.out.of(Utterance)] == ["Five minutes to go."]
        code, told = await one.call("POST", "/v1/say", json={"text": "visit https://spam.invalid today"})
        assert (code, told["code"], told["detail"]) == (409, "denied", "links")


async def test_a_held_message_is_listed_and_decided_about():
    async with operated() as one:
        verdict = one.judge.by_rules(message("ok"))
        for number in ("h1", "h/2", "h\n3"):
            one.pipeline.door.hold(message("Is this alright?", number=number), verdict)
        _, told = await one.call("GET", "/v1/held", "moderator")
        assert [held["id"] for held in told["held"]] == ["h1", "h/2", "h\n3"]
        assert (await one.call("POST", "/v1/held/h%0A3/deny", "moderator"))[0] == 200
        assert (await one.call("POST", "/v1/held/h1/deny", "moderator"))[0] == 200
        code, told = await one.call("POST", "/v1/held/h1/allow", "moderator", json={"source": "websocket"})
        assert (code, told["code"]) == (409, "not_held")
        assert (await one.call("GET", "/v1/state"))[1]["queues"]["held"]["waiting"] == 1
        text = (state_dir() / "audit.jsonl").read_text()
        assert '"message_id": "h1"' in text
        assert "alright" not in text


async def test_the_block_list_is_changed_judged_by_at_once_and_left_alone_when_it_would_be_wrong():
    async with operated() as one:
        path = state_dir() / "blocklist.txt"
        assert one.judge.by_rules(message("a zorblax came by today")).action == "allow"
        assert (await one.call("POST", "/v1/blocklist", "moderator", json={"entry": "zorblax"}))[0] == 200
        assert one.judge.by_rules(message("a zorblax came by today")).reasons == ("blocked_word",)
        path.write_text(path.read_text() + "# mind this one\nquibble # said so\n")
        before = path.read_bytes()
        for wrong in ("!!", "a\nb", "two  spaces", "[section]", "x*", "#"):
            code, _ = await one.call("POST", "/v1/blocklist", "moderator", json={"entry": wrong})
            assert code in (409, 422), wrong
            assert path.read_bytes() == before, wrong
        code, told = await one.call("POST", "/v1/blocklist", "moderator", json={"entry": "Zorblax"})
        assert (code, told["code"]) == (409, "listed_already")
        assert (await one.call("DELETE", "/v1/blocklist?entry=zorblax", "moderator"))[0] == 200
        assert one.judge.by_rules(message("a zorblax came by today")).action == "allow"
        assert "# mind this one" in path.read_text()
        assert (await one.call("GET", "/v1/blocklist", "moderator"))[1]["entries"] == ["quibble"]
        assert (await one.call("DELETE", "/v1/blocklist?entry=zorblax", "moderator"))[1]["code"] == "not_listed"
        assert (await one.call("PUT", "/v1/blocklist", "moderator", json={"entries": ["wug", "zorblax"]}))[0] == 200
        assert (await one.call("GET", "/v1/blocklist", "moderator"))[1]["entries"] == ["wug", "zorblax"]
        assert one.judge.by_rules(message("what the fuck")).reasons == ("blocked_word",), "what ships counts too"


async def test_a_reply_is_rated_and_corrected_by_name_of_the_token():
    async with operated() as one:
        turn = await answered(one, "Hello Mori!")
        rating = f"/v1/replies/{turn.reply_id}/rating"
        assert (await one.call("POST", rating, "moderator", json={"rating": 1}))[0] == 200
        edit = f"/v1/replies/{turn.reply_id}/text"
        assert (await one.call("PUT", edit, json={"text": "Hello, dear friend."}))[0] == 200
        assert (await one.call("POST", "/v1/replies/nothing/rating", json={"rating": 1}))[0] == 409
        assert (await one.call("POST", rating, json={"rating": 5}))[0] == 422
        with sqlite3.connect(state_dir() / "transcripts.db") as database:
            rows = database.execute("SELECT rating, edited_text, rated_by FROM ratings ORDER BY id").fetchall()
        assert [row[:2] for row in rows] == [(1, None), (1, "Hello, dear friend.")]
        assert rows[0][2].startswith("moderator ")
        assert "dear friend" not in (state_dir() / "audit.jsonl").read_text()


async def test_a_forgotten_viewer_is_gone_from_memory_and_transcripts():
    async with operated() as one:
        await answered(one, "My cat is called Biscuit.", author="nadia")
        code, told = await one.call("DELETE", "/v1/viewers/websocket/nadia")
        assert (code, told["data"]["messages"], told["data"]["replies"]) == (200, 1, 1)
        assert one.out.of(Turn)[-1].outcome == "retracted"
        with sqlite3.connect(state_dir() / "transcripts.db") as database:
            assert database.execute("SELECT text, author_name FROM messages").fetchall() == [("", "")]
        asked = len(one.engine.requests)
        await answered(one, "What is my cat called?", author="nadia", number="m2")
        assert "Biscuit" not in str(one.engine.requests[asked].messages)


async def test_what_the_nights_made_of_a_forgotten_viewer_goes_too_unless_one_is_at_work():
    async with operated() as one:
        night = state_dir() / NIGHTS / "mori" / "2027-01-02"
        night.mkdir(parents=True)
        (night / JOURNAL).touch()
        (night / "training-1.jsonl").write_text("My cat is called Biscuit.")
        await answered(one, "My cat is called Biscuit.", author="nadia")
        with held(state_dir() / LOCK, "the retrain of mori"):
            _, told = await one.call("DELETE", "/v1/viewers/websocket/nadia")
            assert told["data"]["night_at_work"].startswith("the retrain of mori")
            assert len(list(night.iterdir())) == 2
        _, told = await one.call("DELETE", "/v1/viewers/websocket/nadia")
        assert (told["data"]["night_at_work"], [path.name for path in night.iterdir()]) == (None, [JOURNAL])


async def test_the_state_tells_who_thinks_what_waits_and_what_is_down():
    going_on = asyncio.Event()
    async with operated(lambda _: ["One sentence is said. And ", going_on, "another one."]) as one:
        await one.pipeline.receive(message("Hello Mori!", number="m7"))
        await one.out.until(lambda out: out.of(Utterance))
        one.health.set("bus", False, "127.0.0.1:1: refused")
        _, told = await one.call("GET", "/v1/state", "viewer")
        (thought,) = told["thoughts"]
        assert (thought["message_id"], thought["source"], thought["sentences"]) == ("m7", "websocket", 1)
        assert told["speaking"] == thought["reply_id"]
        assert (told["state"], told["down"]) == ("degraded", {"bus": "127.0.0.1:1: refused"})
        assert (told["ready"], told["reasons"]) == (False, ["bus"])
        code, ready = await one.call("GET", "/readyz", None)
        assert (code, ready) == (503, {"ready": False, "reasons": ["bus"]})
        going_on.set()
        one.health.set("bus", True)
        assert (await one.call("GET", "/readyz", None))[0] == 200
        await one.call("POST", "/v1/mute")
        assert (await one.call("GET", "/readyz", None))[1]["reasons"] == ["muted"]


async def test_who_starts_again_is_as_muted_as_before():
    for command, is_muted_next in (("mute", True), ("skip", True), ("unmute", False), ("skip", False)):
        async with operated() as one:
            await one.call("POST", f"/v1/{command}")
        async with operated() as one:
            assert one.pipeline.muted == is_muted_next


async def test_a_mute_that_cannot_be_kept_silences_her_all_the_same(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.touch", full)
    async with operated() as one:
        assert (await one.call("POST", "/v1/mute"))[0] == 200
        assert one.pipeline.muted


async def test_words_that_wait_for_the_floor_are_not_said_once_she_is_muted():
    going_on = asyncio.Event()
    async with operated(lambda _: ["One sentence is said. And ", going_on, "another one."]) as one:
        await one.pipeline.receive(message("Hello Mori!"))
        await one.out.until(lambda out: out.of(Utterance))
        saying = asyncio.create_task(one.call("POST", "/v1/say", json={"text": "Nobody hears this."}))
        async with asyncio.timeout(5):
            while not one.desk._num_waiting:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert (await one.call("POST", "/v1/mute"))[0] == 200
        code, told = await saying
        assert (code, told["code"]) == (409, "muted")
        code, told = await one.call("POST", "/v1/say", json={"text": "Nor this."})
        assert (code, told["code"]) == (409, "muted")
        assert len(one.out.of(Utterance)) == 1
