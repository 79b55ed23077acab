"""The stream of events: what subscribers get, bounded, taken back, ended with the server."""

import asyncio
import json

from tests.support.operators import TOKENS, operated
from tests.support.scripted import message
from vtuber_brain.control.feed import MAX_QUEUED, Feed
from vtuber_brain.messages import Cue, Turn, Utterance
from vtuber_brain.runtime.metrics import Metrics

BEARER = {"Authorization": f"Bearer {TOKENS['viewer']}"}


def feed(max_readers=2):
    return Feed(lambda event: (type(event).__name__, json.dumps(str(event))), max_readers, Metrics())


def sentence(reply_id, seq=0):
    return Utterance(reply_id, seq, "Hi.", None, None, "en", True, None, 0.0, "mori", None)


def retracted(reply_id):
    return Turn(reply_id, None, "retracted", "", "", "mori", "m", None)


async def test_a_reader_that_is_slow_loses_the_oldest_and_is_told_how_many():
    one = feed()
    reader = one.open()
    for n in range(MAX_QUEUED + 10):
        await one.emit(Cue(f"c{n}"))
    assert await reader.next(0) == ("lost", '{"type":"lost","count":10}')
    assert "c10'" in (await reader.next(0))[1]
    left = [await reader.next(0) for _ in range(MAX_QUEUED - 1)]
    assert None not in left
    assert await reader.next(0) is None


async def test_what_is_taken_back_is_not_handed_out_any_more():
    one = feed()
    reader = one.open()
    await one.emit(sentence("a"))
    await one.emit(sentence("b"))
    await one.emit(retracted("a"))
    assert "'b'" in (await reader.next(0))[1]
    assert (await reader.next(0))[0] == "Turn"


async def test_only_so_many_read_and_a_place_is_free_again():
    one = feed(max_readers=1)
    reader = one.open()
    assert one.open() is None
    one.leave(reader)
    assert one.open() is not None


async def until_line(stream, wanted):
    async with asyncio.timeout(10):
        while not (line := (await stream.readline()).decode()).startswith(wanted):
            assert line, "the stream has ended"
        return line


async def test_over_http_a_reader_hears_verdict_utterance_and_reply():
    async with operated() as one, one.http.get(f"{one.url}/v1/events", headers=BEARER) as stream:
        assert stream.content_type == "text/event-stream"
        await until_line(stream.content, ": hello")
        await one.pipeline.receive(message("Hello Mori!"))
        for kind in ("verdict", "utterance", "reply"):
            await until_line(stream.content, f"event: {kind}")
            data = json.loads((await until_line(stream.content, "data: ")).removeprefix("data: "))
            assert data["type"] == kind


async def test_one_reader_too_many_is_turned_away_and_one_that_leaves_makes_room():
    async with operated(max_streams=1) as one:
        async with one.http.get(f"{one.url}/v1/events", headers=BEARER) as first:
            await until_line(first.content, ": hello")
            assert (await one.call("GET", "/v1/events", "viewer"))[0] == 503
        async with asyncio.timeout(10):
            while one.feed.num_readers:
                await one.publisher.publish(Cue("smile"))  # a server notices that a reader has gone when it writes
                await asyncio.sleep(0.01)
        async with one.http.get(f"{one.url}/v1/events", headers=BEARER) as second:
            await until_line(second.content, ": hello")


async def test_an_open_stream_ends_with_the_server_and_keeps_it_from_nothing():
    async with operated() as one:
        stream = await one.http.get(f"{one.url}/v1/events", headers=BEARER)
        await until_line(stream.content, ": hello")
        one.feed.close()
        async with asyncio.timeout(5):
            await stream.content.read()
        assert one.feed.num_readers == 0
