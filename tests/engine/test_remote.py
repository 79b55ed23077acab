"""The engine over HTTP: a contract held for `transformers serve` and the fake alike, and every fault of the fake's."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.brokers import free_port
from tests.support.openai_fake import FakeServer, Hang, Raw, Say, Status
from tests.support.remotes import collect, engine_for, looked_at, request, until_state
from vtuber_brain.errors import EngineDown, RequestFailed

USAGE = {"prompt_tokens": 30, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 16}}


async def fails(engine, code, asked=None):
    with pytest.raises(RequestFailed) as failure:
        await collect(engine, asked)
    assert failure.value.code == code
    return failure.value.detail


# The contract


@pytest.fixture(scope="module")
def transformers_serve(bundled_model, tmp_path_factory):
    """`transformers serve` with the bundled model as a process; its base URL, and the model's name there."""
    folder, port = tmp_path_factory.mktemp("serve"), free_port()
    (folder / "hub").mkdir()  # what it lists as /models; without the folder it answers 500
    command = [Path(sys.executable).with_name("transformers"), "serve", bundled_model, "--host", "127.0.0.1"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command), "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            yield f"http://127.0.0.1:{port}/v1", str(bundled_model)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(params=["fake", "transformers serve"])
async def served(request):
    """An engine on a server that answers anything, and the model's name."""
    if request.param == "fake":
        async with FakeServer() as server, engine_for(server.url) as engine:
            yield engine
    else:
        url, model = request.getfixturevalue("transformers_serve")
        patient = {"first_token_timeout_s": 60, "ready_s": 90, "deadline_s": 90}
        async with engine_for(url, model=model, **patient) as engine:
            yield engine


async def test_a_reply_streams_and_ends_with_what_it_cost(served):
    text, done = await collect(served, request("Say hello.", 4))
    assert text
    assert done.finish_reason in {"stop", "length"}
    assert 1 <= done.usage.completion_tokens <= 4
    assert 0 <= done.usage.queued_ms <= done.usage.first_token_ms <= done.usage.total_ms


async def test_greedy_and_seeded_replies_are_the_same_each_time(served):
    greedy, seeded = request("Tell me a story.", 6), request("Tell me a story.", 6, temperature=1.0, seed=7)
    for asked in (greedy, seeded):
        assert (await collect(served, asked))[0] == (await collect(served, asked))[0]


async def test_a_reply_that_is_left_makes_room_for_the_next(served):
    async with contextlib.aclosing(served.generate(request("Count to a thousand.", 1500))) as stream:
        await anext(stream)
    async with asyncio.timeout(20):  # those 1,500 tokens would take longer
        await collect(served, request("Say hello.", 2))


async def test_a_model_the_server_does_not_have_fails_by_that_name(transformers_serve):
    url, _ = transformers_serve
    async with engine_for(url, model="nowhere", ready_s=90) as engine:
        assert "nowhere" in await fails(engine, "bad_request")  # vLLM says 404, this one 400
    async with FakeServer() as server, engine_for(server.url, model="nowhere") as engine:
        assert "nowhere" in await fails(engine, "unknown_model")


async def test_a_way_of_sampling_the_server_does_not_know_is_named(transformers_serve):
    url, model = transformers_serve
    async with engine_for(url, model=model, ready_s=90) as engine:
        assert "refused top_k" in await fails(engine, "bad_request", request(top_k=5))


# What a reply is


async def test_usage_is_the_servers_where_it_says_and_counted_where_it_does_not():
    told, untold = Say.of("a", "b", finish="length", usage=USAGE), Say.of("a", "b", "c")
    async with FakeServer(told, untold) as server, engine_for(server.url) as engine:
        _, done = await collect(engine)
        assert (done.finish_reason, done.usage.prompt_tokens) == ("length", 30)
        assert (done.usage.cached_tokens, done.usage.completion_tokens) == (16, 9)
        assert (await collect(engine))[1].usage.completion_tokens == 3


async def test_a_server_that_refuses_to_tell_usage_is_asked_without():
    async with FakeServer(Status(400, "unknown field stream_options")) as server, engine_for(server.url) as engine:
        await collect(engine)
        await collect(engine)
    assert ["stream_options" in body for body in server.requests] == [True, False, False]


async def test_pieces_come_as_the_server_sends_them():
    rest = asyncio.Event()
    async with FakeServer(Say.of("first ", rest, "second")) as server, engine_for(server.url) as engine:
        stream = engine.generate(request())
        assert await anext(stream) == "first "
        rest.set()
        assert await anext(stream) == "second"
        await stream.aclose()


async def test_a_slow_reader_does_not_hold_the_servers_place():
    async with FakeServer(Say.of("a", "b")) as server, engine_for(server.url, per_url=1) as engine:
        stream = engine.generate(request())
        assert await anext(stream) == "a"
        await collect(engine)  # while the first reply is still being read
        assert await anext(stream) == "b"
        await stream.aclose()


async def test_leaving_closes_the_response_at_once_and_frees_the_place():
    async with FakeServer(Say.of("a", asyncio.Event())) as server, engine_for(server.url, per_url=1) as engine:
        async with contextlib.aclosing(engine.generate(request())) as stream:
            await anext(stream)
        await server.until(lambda server: server.left == 1, 2)
        await collect(engine)


async def test_leaving_before_the_answer_began_closes_it_too():
    async with FakeServer(Hang()) as server, engine_for(server.url) as engine:
        asking = asyncio.create_task(collect(engine))
        await server.until(lambda server: server.running == 1)
        asking.cancel()
        await server.until(lambda server: server.left == 1, 2)


# Errors by type


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Status(400, "temperature must be a number"), "bad_request"),
        (Status(422, "no"), "bad_request"),
        (Status(400, "This model's maximum context length is 2048 tokens."), "prompt_too_long"),
        (Status(400, "no", error={"code": "context_length_exceeded"}), "prompt_too_long"),
        (Status(404, "The model `base` does not exist."), "unknown_model"),
    ],
)
async def test_what_is_wrong_with_the_request_fails_it_at_once_and_keeps_the_server(answer, code):
    async with FakeServer(answer) as server, engine_for(server.url) as engine:
        assert answer.message in await fails(engine, code)
        assert len(server.requests) == 1
        assert engine.state == "ready"


@pytest.mark.parametrize(
    "trouble",
    [
        Status(500),
        Status(503),
        Status(408),
        Status(429),
        Raw(b"data: {oops\n\n"),
        Raw(b"data: 5\n\n"),
        Raw(b"\xff\xfe\n\n"),
        Raw(b'data: {"error": {"message": "out of memory"}}\n\n'),
        Raw(b"data: [DONE]\n\n"),
        Say.of(after="reset"),
        Say.of(finish=None, after="end"),
    ],
    ids=lambda trouble: str(trouble)[:40],
)
async def test_trouble_before_the_first_word_is_tried_again(trouble):
    async with FakeServer(trouble, trouble) as server, engine_for(server.url) as engine:
        assert (await collect(engine))[0] == "hello from base"
        assert len(server.requests) == 3


@pytest.mark.parametrize("after", ["reset", "end"])
async def test_a_stream_that_breaks_after_the_first_word_is_not_tried_again(after):
    async with FakeServer(Say.of("a", finish=None, after=after)) as server, engine_for(server.url) as engine:
        with pytest.raises(EngineDown, match="in the middle"):
            await collect(engine)
        assert len(server.requests) == 1


async def test_a_connection_that_breaks_after_the_replys_end_does_not_matter():
    async with FakeServer(Say.of("a", "b", after="cut")) as server, engine_for(server.url) as engine:
        text, done = await collect(engine)
    assert (text, done.finish_reason, len(server.requests)) == ("ab", "stop", 1)


async def test_attempts_are_bounded():
    async with FakeServer(*[Status(500)] * 9) as server, engine_for(server.url, max_retries=3) as engine:
        with pytest.raises(EngineDown, match="answered 500"):
            await collect(engine)
        assert len(server.requests) == 4
    async with FakeServer(*[Status(429)] * 9) as server, engine_for(server.url, max_retries=1) as engine:
        await fails(engine, "rate_limited")
        assert len(server.requests) == 2


async def test_a_rate_limited_server_is_left_alone_for_as_long_as_it_asks():
    async with (
        FakeServer(Status(429, headers={"retry-after": "0.6"})) as server,
        engine_for(server.url, retry_max_s=5) as engine,
    ):
        started_s = time.monotonic()
        await collect(engine)
        assert 0.6 <= time.monotonic() - started_s < 3
        assert engine.state == "ready"


async def test_but_never_longer_than_the_settings_allow():
    limits = [Status(429, headers={"retry-after": wait}) for wait in ("3600", "Wed, 21 Oct 2099 07:28:00 GMT")]
    async with FakeServer(*limits) as server, engine_for(server.url, retry_max_s=0.05) as engine:
        async with asyncio.timeout(5):
            await collect(engine)


async def test_a_wrong_key_is_said_by_the_settings_name_and_never_shown():
    async with FakeServer(key="right") as server, engine_for(server.url, wait=False, api_key="wrong-key") as engine:
        await until_state(engine, "down")
        assert "remote.api_key" in engine.states[-1][1]
        server.key = "wrong-key"
        await asyncio.wait_for(engine.wait_ready(), 5)
        server.key, server.look = "right", Status(404)
        await fails(engine, "unauthorized")
        assert "wrong-key" not in str(engine.states)
    quoting = Status(400, "your key wrong-key is of no use")
    async with FakeServer(quoting) as server, engine_for(server.url, api_key="wrong-key") as engine:
        assert "wrong-key" not in await fails(engine, "bad_request")


# Time


async def test_a_request_not_done_by_its_deadline_fails_and_is_closed():
    async with FakeServer(Say.of("a", asyncio.Event())) as server, engine_for(server.url, deadline_s=0.2) as engine:
        await fails(engine, "deadline")
        await server.until(lambda server: server.left == 1, 2)


async def test_waiting_for_a_place_counts_against_the_deadline():
    busy = Status(429, headers={"retry-after": "5"})
    async with FakeServer(busy) as server, engine_for(server.url, retry_max_s=5, deadline_s=0.2) as engine:
        await fails(engine, "deadline")
        assert len(server.requests) == 1


@pytest.mark.parametrize("silent", [Hang(), Say.of(asyncio.Event())], ids=["no answer", "no token"])
async def test_without_a_token_in_time_the_next_server_is_asked(silent):
    async with (
        FakeServer(silent) as first,
        FakeServer() as second,
        engine_for(first.url, second.url, first_token_timeout_s=0.5) as engine,
    ):
        await looked_at(first, second)
        assert (await collect(engine))[0] == "hello from base"
        await first.until(lambda server: server.left == 1)
        assert len(second.requests) == 1


def set_later(seconds):
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, event.set)
    return event


async def test_signs_of_life_are_no_token():
    empty = Say.of("", set_later(0.3), "", set_later(0.6), "", set_later(0.9), "", set_later(1.2), "late")
    async with FakeServer(empty) as server, engine_for(server.url, first_token_timeout_s=0.5) as engine:
        assert (await collect(engine))[0] == "hello from base"
        assert server.left == 1


async def test_a_reply_may_take_longer_than_its_first_token():
    async with FakeServer() as server, engine_for(server.url, first_token_timeout_s=1) as engine:
        server.plan = [Say.of("a", set_later(0.4), "b", set_later(0.8), "c", set_later(1.2), "d")]
        assert (await collect(engine))[0] == "abcd"


async def test_silence_in_the_middle_of_a_reply_ends_it():
    hang = Say.of("a", after="hang")
    async with FakeServer(hang) as server, engine_for(server.url, first_token_timeout_s=0.2) as engine:
        with pytest.raises(EngineDown, match="in the middle"):
            await collect(engine)


# Several servers


async def test_a_dead_server_costs_one_attempt_and_is_used_again_when_it_is_back():
    async with FakeServer() as first, FakeServer() as second, engine_for(first.url, second.url) as engine:
        await looked_at(first, second)
        await first.stop()
        for _ in range(5):
            assert (await collect(engine))[0] == "hello from base"
        assert (len(first.requests), len(second.requests)) == (0, 5)
        assert engine.state == "ready"
        await first.start()
        await looked_at(first)
        await collect(engine)
        assert len(first.requests) == 1


async def test_a_server_that_failed_rests_while_others_can_answer():
    async with (
        FakeServer(Status(500)) as first,
        FakeServer() as second,
        engine_for(first.url, second.url, retry_max_s=5) as engine,
    ):
        await looked_at(first, second)
        await collect(engine)
        await collect(engine)
        assert (len(first.requests), len(second.requests)) == (1, 2)


async def test_a_server_that_just_refused_is_not_asked_twice_while_there_is_another():
    busy = [Status(429, headers={"retry-after": "0"})] * 3
    async with FakeServer(*busy) as first, FakeServer() as second, engine_for(first.url, second.url) as engine:
        await looked_at(first, second)
        await collect(engine)
        assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_a_failed_request_brings_the_next_look_forward():
    async with FakeServer() as server, engine_for(server.url, probe_s=60) as engine:
        await server.stop()
        with pytest.raises(EngineDown):
            await collect(engine)
        await until_state(engine, "down")


async def test_requests_spread_over_the_servers_and_never_pass_the_places_of_each():
    hold = asyncio.Event()
    plan = [Say.of("a", hold)] * 20
    async with (
        FakeServer(*plan) as first,
        FakeServer(*plan) as second,
        engine_for(first.url, second.url, per_url=3) as engine,
    ):
        await looked_at(first, second)
        asking = [asyncio.create_task(collect(engine)) for _ in range(20)]
        await first.until(lambda server: server.running == 3)
        await second.until(lambda server: server.running == 3)
        hold.set()
        await asyncio.gather(*asking)
    assert (first.most_running, second.most_running) == (3, 3)
    assert len(first.requests) + len(second.requests) == 20


async def test_a_paid_message_goes_ahead_of_those_who_wait():
    hold = asyncio.Event()
    async with FakeServer(Say.of("a", hold)) as server, engine_for(server.url, per_url=1) as engine:
        asking = [asyncio.create_task(collect(engine))]
        await server.until(lambda server: server.running == 1)
        for text, priority in [("chat", 0), ("cheer", 1)]:
            asking.append(asyncio.create_task(collect(engine, request(text, priority=priority))))
            await asyncio.sleep(0)
        hold.set()
        await asyncio.gather(*asking)
    assert [body["messages"][0]["content"] for body in server.requests] == ["hello", "cheer", "chat"]


async def test_when_all_are_gone_requests_fail_the_state_says_why_and_it_comes_back_by_itself():
    async with FakeServer() as server, engine_for(server.url) as engine:
        await server.stop()
        with pytest.raises(EngineDown, match="cannot be reached"):
            await collect(engine)
        await until_state(engine, "down")
        assert server.url in engine.states[-1][1]
        with pytest.raises(EngineDown):
            await collect(engine)
        await server.start()
        async with asyncio.timeout(5):
            await engine.wait_ready()
        await collect(engine)
    assert [state for state, _ in engine.states] == ["starting", "ready", "down", "ready"]


async def test_a_server_that_is_not_there_at_start_makes_it_down_until_it_comes():
    port = free_port()
    async with engine_for(f"http://127.0.0.1:{port}/v1", wait=False) as engine:
        await until_state(engine, "down")
        server = FakeServer()
        server.port = port
        async with server, asyncio.timeout(5):
            facts = await engine.wait_ready()
    assert facts == {"urls": [server.url], "model": "base", "served": ["base"], "num_slots": 8}


async def test_asleep_it_takes_no_request_and_leaves_the_running_one_alone():
    hold = asyncio.Event()
    async with FakeServer(Say.of("a", hold, "b")) as server, engine_for(server.url) as engine:
        running = asyncio.create_task(collect(engine))
        await server.until(lambda server: server.running == 1)
        await engine.sleep()
        waiting = asyncio.create_task(engine.wait_ready())
        with pytest.raises(EngineDown, match="asleep"):
            await collect(engine)
        hold.set()
        assert (await running)[0] == "ab"
        assert not waiting.done()
        await engine.wake()
        await asyncio.wait_for(waiting, 5)
    assert [state for state, _ in engine.states] == ["starting", "ready", "asleep", "ready"]


def test_nothing_of_the_client_is_imported_until_a_remote_engine_is_made():
    code = "import sys, vtuber_brain.engine.remote; sys.exit('openai' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
