"""The chat server over real sockets: who gets in, what is answered, and that nobody disturbs anybody else."""

import asyncio
import contextlib
import errno
import json
import logging
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from tests.chat.conftest import DEADLINE_S
from vtuber_brain.chat.subscriber import MAX_QUEUED
from vtuber_brain.chat.websocket import SUBPROTOCOL, WebSocketChat
from vtuber_brain.errors import ConfigError
from vtuber_brain.messages import ChatMessage, Cue, Drop, Retraction
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import WebSocketSettings


def message(id_="m1", text="hi Mori", author="kopi", **fields):
    return {"type": "message", "id": id_, "author": {"id": author, "name": author.title()}, "text": text, **fields}


class Peer:
    """A client that speaks in plain dictionaries."""

    def __init__(self, connection) -> None:
        self.connection = connection

    async def say(self, frame) -> None:
        await self.connection.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def hear(self) -> dict:
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self.connection.recv())

    async def ask(self, frame) -> dict:
        await self.say(frame)
        return await self.hear()

    async def hear_until(self, type_, **fields) -> list[dict]:
        """Everything up to the first frame of this type with these fields."""
        heard = []
        while not heard or any(heard[-1].get(name) != value for name, value in {"type": type_, **fields}.items()):
            heard.append(await self.hear())
        return heard


@contextlib.asynccontextmanager
async def peer(brain, **options):
    headers = {"Authorization": f"Bearer {brain.token}"} if brain.token else None
    async with connect(
        brain.url, **{"additional_headers": headers, "proxy": None, "close_timeout": 1, **options}
    ) as wire:
        yield Peer(wire)


async def status_of(brain, url=None, **options) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url or brain.url, proxy=None, **options):
            pass
    return refused.value.response.status_code


def count(brain, code) -> float:
    return brain.metrics.registry.get_sample_value("vtb_frames_refused_total", {"code": code}) or 0


class TestMessages:
    async def test_a_message_is_delivered_and_acknowledged(self, brain):
        async with peer(brain) as client:
            assert await client.ask(message(kind="cheer", amount=50)) == {"type": "ack", "of": "message", "id": "m1"}
        (delivered,) = brain.delivered
        assert isinstance(delivered, ChatMessage)
        assert (delivered.source, delivered.id, delivered.author.name) == ("websocket", "m1", "Kopi")
        assert (delivered.kind, delivered.amount, delivered.text) == ("cheer", 50.0, "hi Mori")

    async def test_retractions_are_delivered_and_acknowledged(self, brain):
        async with peer(brain) as client:
            assert await client.ask({"type": "delete", "id": "m1"}) == {"type": "ack", "of": "delete", "id": "m1"}
            assert await client.ask({"type": "ban", "author_id": "u"}) == {"type": "ack", "of": "ban", "id": "u"}
            assert await client.ask({"type": "clear"}) == {"type": "ack", "of": "clear", "id": None}
        assert [(item.scope, item.target_id) for item in brain.delivered if isinstance(item, Retraction)] == [
            ("message", "m1"),
            ("author", "u"),
            ("all", None),
        ]

    async def test_nothing_is_acknowledged_before_it_is_stored(self, brain):
        brain.open.clear()
        async with peer(brain) as slow, peer(brain) as other:
            await slow.say(message("slow"))
            await other.say("{")
            assert (await other.hear())["code"] == "malformed_json", "others are answered meanwhile"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await slow.connection.recv()
            brain.open.set()
            assert (await slow.hear())["type"] == "ack"

    async def test_what_cannot_be_stored_is_not_acknowledged_and_chat_goes_on(self, brain):
        brain.disk_full = True
        async with peer(brain) as client:
            answer = await client.ask(message("m1"))
            assert (answer["type"], answer["code"], answer["of"], answer["id"]) == (
                "error",
                "unavailable",
                "message",
                "m1",
            )
            brain.disk_full = False
            assert (await client.ask(message("m1")))["type"] == "ack"
        assert count(brain, "unavailable") == 1

    async def test_connections_deliver_side_by_side(self, brain):
        brain.open.clear()
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(peer(brain)) for _ in range(10)]
            for n, client in enumerate(clients):
                await client.say(message(f"m{n}"))
            brain.open.set()
            answers = [await client.hear() for client in clients]
        assert [answer["id"] for answer in answers] == [f"m{n}" for n in range(10)]


class TestBadFrames:
    @pytest.mark.parametrize(
        ("frame", "code", "detail"),
        [
            ("{", "malformed_json", ""),
            ("[1]", "bad_message", "frame: a JSON object"),
            (json.dumps({"type": "hello"}), "bad_message", "type: one of"),
            (json.dumps({**message(), "author": {"name": "Kopi"}}), "bad_message", "author.id: is missing"),
            (json.dumps({**message(), "colour": "red"}), "bad_message", "colour: unknown field"),
            (json.dumps(message(text="x" * 5000)), "too_long", "text: "),
            (b"\x00\x01", "binary", "frames must be text"),
            (json.dumps(message()).encode(), "binary", "frames must be text"),
        ],
    )
    async def test_each_is_answered_and_disturbs_nothing(self, brain, frame, code, detail):
        async with peer(brain) as client, peer(brain) as other:
            answer = await client.ask(frame)
            assert (answer["type"], answer["code"]) == ("error", code)
            assert answer["detail"].startswith(detail)
            assert (await client.ask(message("after")))["type"] == "ack"
            assert (await other.ask(message("other")))["type"] == "ack"
        assert count(brain, code) == 1
        assert [item.id for item in brain.delivered] == ["after", "other"]

    @pytest.mark.parametrize("size_bytes", [17_000, 2**20])
    async def test_a_long_frame_closes_the_connection_with_1009_and_only_that_one(self, brain, size_bytes):
        async with peer(brain) as client, peer(brain) as other:
            with pytest.raises(ConnectionClosedError) as closed:
                await client.say(message(text="x" * size_bytes))
                await client.hear()
            assert closed.value.rcvd.code == 1009
            assert (await other.ask(message()))["type"] == "ack"
        assert count(brain, "too_big") == 1

    async def test_text_that_is_not_utf8_closes_the_connection_with_1007(self, brain):
        async with peer(brain) as client, peer(brain) as other:
            with pytest.raises(ConnectionClosedError) as closed:
                await client.connection.send(b"\xff\xfe", text=True)
                await client.hear()
            assert closed.value.rcvd.code == 1007
            assert (await other.ask(message()))["type"] == "ack"


class TestFloods:
    async def test_more_frames_than_allowed_are_refused_on_that_connection_alone(self, serve):
        async with serve(burst=5, messages_per_s=0.001) as brain, peer(brain) as flood, peer(brain) as calm:
            answers = [await flood.ask(message(f"m{n}")) for n in range(8)]
            assert [answer["type"] for answer in answers] == ["ack"] * 5 + ["error"] * 3
            assert {(answer["code"], answer["id"]) for answer in answers[5:]} == {
                ("rate_limited", f"m{n}") for n in (5, 6, 7)
            }
            assert (await calm.ask(message("calm")))["type"] == "ack"
            assert [item.id for item in brain.delivered] == ["m0", "m1", "m2", "m3", "m4", "calm"]
            assert count(brain, "rate_limited") == 3

    async def test_bad_frames_count_too(self, serve):
        async with serve(burst=2, messages_per_s=0.001) as brain, peer(brain) as client:
            codes = [(await client.ask("{"))["code"] for _ in range(4)]
            assert codes == ["malformed_json"] * 2 + ["rate_limited"] * 2

    async def test_a_moderator_is_heard_through_a_flood_of_chat(self, serve):
        async with serve(burst=2, messages_per_s=0.001) as brain, peer(brain) as client:
            for n in range(4):
                await client.ask(message(f"m{n}"))
            assert (await client.ask({"type": "delete", "id": "m0"}))["type"] == "ack"
            assert (await client.ask({"type": "clear"}))["type"] == "ack"
            assert (await client.ask({"type": "clear"}))["code"] == "rate_limited"

    async def test_no_more_connections_than_allowed(self, serve):
        async with serve(max_connections=3) as brain, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(peer(brain)) for _ in range(3)]
            assert await status_of(brain) == 503
            await clients[0].connection.close()
            await clients[0].connection.wait_closed()
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    with contextlib.suppress(InvalidStatus):
                        async with peer(brain) as late:
                            assert (await late.ask(message()))["type"] == "ack"
                            break

    async def test_not_even_all_at_once(self, serve):
        async with serve(max_connections=4) as brain, contextlib.AsyncExitStack() as stack:
            tries = (stack.enter_async_context(peer(brain)) for _ in range(20))
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(outcome, Peer) for outcome in outcomes) == 4
        assert {o.response.status_code for o in outcomes if not isinstance(o, Peer)} == {503}


class TestWhoGetsIn:
    async def test_only_at_chat(self, brain):
        assert await status_of(brain, f"ws://127.0.0.1:{brain.chat.port}/") == 404
        assert await status_of(brain, f"ws://127.0.0.1:{brain.chat.port}/chat/x") == 404

    async def test_the_token_is_needed_when_there_is_one(self, serve):
        async with serve(token="s3cret") as brain:
            assert await status_of(brain) == 401
            assert await status_of(brain, additional_headers={"Authorization": "Bearer wrong"}) == 401
            assert await status_of(brain, additional_headers={"Authorization": "Basic s3cret"}) == 401
            assert await status_of(brain, additional_headers={"Authorization": "Bearer s3cret\u00e9"}) == 401
            assert await status_of(brain, brain.url + "?token=s3cret") == 401
            async with peer(brain) as client:
                assert (await client.ask(message()))["type"] == "ack"

    async def test_a_refusal_for_want_of_a_token_says_which_kind(self, serve):
        async with serve(token="s3cret") as brain:
            with pytest.raises(InvalidStatus) as refused:
                await connect(brain.url, proxy=None)
            assert refused.value.response.headers["WWW-Authenticate"] == "Bearer"

    async def test_a_browser_gives_the_token_as_a_subprotocol(self, serve):
        async with serve(token="s3cret") as brain:
            assert await status_of(brain, subprotocols=["bearer.wrong"]) == 401
            no_header = {"additional_headers": None}
            async with peer(brain, subprotocols=["bearer.s3cret"], **no_header) as client:
                assert client.connection.subprotocol == "bearer.s3cret"
                assert (await client.ask(message("a")))["type"] == "ack"
            async with peer(brain, subprotocols=[SUBPROTOCOL, "bearer.s3cret"], **no_header) as client:
                assert client.connection.subprotocol == SUBPROTOCOL
                assert (await client.ask(message("b")))["type"] == "ack"

    async def test_pages_of_other_origins_are_kept_out(self, serve):
        async with serve(origins=["https://panel.example"]) as brain:
            assert await status_of(brain, origin="https://evil.example") == 403
            async with peer(brain, origin="https://panel.example") as client:
                assert (await client.ask(message()))["type"] == "ack"

    async def test_no_page_at_all_by_default(self, brain):
        assert await status_of(brain, origin="http://127.0.0.1") == 403

    async def test_a_port_scan_is_not_an_error_of_ours(self, brain, caplog):
        with caplog.at_level(logging.DEBUG, logger="websockets"):
            for data in (b"", b"\x16\x03\x01 not http", b"GET /chat HTTP/1.1\r\n\r\n"):
                reader, writer = await asyncio.open_connection("127.0.0.1", brain.chat.port)
                writer.write(data)
                writer.write_eof()
                async with asyncio.timeout(DEADLINE_S):
                    await reader.read()
                writer.close()
                await writer.wait_closed()
            async with peer(brain) as client:
                assert (await client.ask(message()))["type"] == "ack"
        assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


class TestSubscribers:
    async def test_hear_the_whole_story_of_a_message(self, brain):
        async with peer(brain) as watcher, peer(brain) as client:
            assert await watcher.ask({"type": "subscribe"}) == {"type": "ack", "of": "subscribe", "id": None}
            await client.ask(message())
            heard = await watcher.hear_until("reply")
        assert [frame["type"] for frame in heard] == ["verdict", "utterance", "utterance", "cue", "reply"]
        assert heard[0]["mood"] == "positive"
        assert [frame["text"] for frame in heard[1:3]] == ["Hello there.", "Stay a while."]
        assert heard[1]["in_reply_to"]["author"] == "Kopi"
        assert (heard[4]["outcome"], heard[4]["in_reply_to"], heard[4]["timings"]) == (
            "spoken",
            "m1",
            {"first_utterance": 12.5},
        )

    async def test_hear_why_a_message_was_denied_or_dropped(self, brain):
        async with peer(brain) as client:
            await client.ask({"type": "subscribe"})
            await client.say(message("m1", "a bad word"))
            denied = (await client.hear_until("verdict"))[-1]
            assert (denied["action"], denied["reasons"]) == ("deny", ["blocklist", "caps"])
            await client.say(message("m1", "again"))
            assert (await client.hear_until("dropped"))[-1]["reason"] == Drop.DUPLICATE

    async def test_others_hear_only_their_own_answers(self, brain):
        async with peer(brain) as client:
            assert (await client.ask(message("m1")))["type"] == "ack"
            assert (await client.ask(message("m2")))["type"] == "ack"

    async def test_a_slow_one_stalls_nobody_and_learns_what_it_lost(self, brain):
        async with peer(brain, max_queue=1) as slow, peer(brain) as quick:
            await slow.ask({"type": "subscribe"})
            await quick.ask({"type": "subscribe"})
            slow.connection.transport.pause_reading()
            cue = Cue("x" * 4000)
            for _ in range(4000):
                await brain.chat.emit(cue)
                if count(brain, "slow_subscriber") == 0:
                    await asyncio.sleep(0)
            lost = count(brain, "slow_subscriber")
            assert lost > 0
            assert (await quick.hear())["type"] in {"cue", "lost"}
            await quick.say(message())
            await quick.hear_until("ack", of="message")
            slow.connection.transport.resume_reading()
            frames = await slow.hear_until("lost")
            assert frames[-1]["count"] > 0

    async def test_one_that_left_costs_nothing(self, brain):
        async with peer(brain) as gone:
            await gone.ask({"type": "subscribe"})
        async with peer(brain) as client:
            await client.ask(message())
            for n in range(2 * MAX_QUEUED):
                await brain.chat.emit(Cue(f"cue{n}"))
            assert count(brain, "slow_subscriber") == 0
            await client.ask({"type": "subscribe"})
            await client.say(message("m2"))
            assert (await client.hear_until("reply"))[-1]["outcome"] == "spoken"


class TestListening:
    async def test_a_port_that_is_taken_is_named_with_what_to_do(self, brain):
        second = WebSocketChat(WebSocketSettings(port=brain.chat.port), Metrics())
        with pytest.raises(ConfigError) as failed:
            await second.run(brain.deliver)
        (problem,) = failed.value.problems
        assert problem.where == "websocket.port"
        assert str(brain.chat.port) in problem.what
        assert "VTB_WEBSOCKET__PORT" in problem.fix
        async with peer(brain) as client:
            assert (await client.ask(message()))["type"] == "ack"

    @pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
    async def test_an_address_that_is_not_ours_is_named(self, host):
        chat = WebSocketChat(WebSocketSettings(host=host, port=0, token="t"), Metrics())
        with pytest.raises(ConfigError) as failed:
            await chat.run(lambda _: None)
        (problem,) = failed.value.problems
        assert problem.where == "websocket.host"
        assert host in problem.what

    async def test_it_may_listen_again(self, serve):
        async with serve() as brain:
            port = brain.chat.port
        chat = brain.chat
        again = asyncio.create_task(chat.run(brain.deliver))
        assert await chat.listening()
        assert port is not None
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)


class TestLeaving:
    async def leave(self, brain, running, within_s=4) -> None:
        async with asyncio.timeout(within_s):
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", brain.chat.port)) == errno.ECONNREFUSED

    async def test_is_prompt_with_clients_subscribers_and_half_open_connections(self, serve):
        async with serve() as brain:
            running = next(task for task in asyncio.all_tasks() if task.get_name() == "chat")
            async with peer(brain) as idle, peer(brain) as watcher:
                await watcher.ask({"type": "subscribe"})
                _, half_open = await asyncio.open_connection("127.0.0.1", brain.chat.port)
                await self.leave(brain, running)
                with pytest.raises(ConnectionClosed) as closed:
                    await idle.hear()
                assert closed.value.rcvd.code == 1001
                half_open.close()

    async def test_does_not_wait_for_a_store_that_hangs(self, serve):
        async with serve() as brain:
            running = next(task for task in asyncio.all_tasks() if task.get_name() == "chat")
            async with peer(brain) as client:
                brain.open.clear()
                await client.say(message())
                await self.leave(brain, running)
                with pytest.raises(ConnectionClosed):
                    await client.hear()
        assert brain.delivered == []

    async def test_lets_a_subscriber_have_what_is_queued(self, serve, monkeypatch):
        monkeypatch.setattr("vtuber_brain.chat.websocket.FAREWELL_S", DEADLINE_S)
        async with serve() as brain:
            running = next(task for task in asyncio.all_tasks() if task.get_name() == "chat")
            async with peer(brain) as watcher:
                await watcher.ask({"type": "subscribe"})
                for n in range(400):
                    await brain.chat.emit(Cue(f"cue{n}".ljust(20_000)))
                leaving = asyncio.create_task(self.leave(brain, running, DEADLINE_S))
                assert [(await watcher.hear())["name"].rstrip() for _ in range(400)] == [f"cue{n}" for n in range(400)]
                await leaving
