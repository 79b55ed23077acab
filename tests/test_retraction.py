"""Words that were taken back are not said, wherever on their way the retraction meets them (law 3): 1,000 races."""

import asyncio
import collections
import contextlib
import json
import os
import sqlite3

import pytest
from websockets.asyncio.client import connect

from tests.chat.twitch_stage import log_in, mocked
from tests.chat.twitch_stage import settings as twitch_settings
from tests.support.race_books import STAGES, WORD, Books
from tests.support.races import alive
from tests.support.twitch_mock import CHANNEL_ID, said
from vtuber_brain.chat.twitch.source import TwitchChat
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import WebSocketSettings

AT_ONCE = 24
DEADLINE_S = 300
WIDE_OPEN = WebSocketSettings(port=0, burst=1e6, messages_per_s=1e6)
WANTED = ("before", *STAGES)
GOALS = (*WANTED, "before", "recalling", "engine", "first_token", "gate", "unplayed")
ROOM = {"broadcaster_user_id": CHANNEL_ID}


def text_of(run):
    return f"what do you make of {run.word}?"


class WebSocketPort:
    """Viewers and a moderator of the WebSocket, each on a connection of their own."""

    name = "websocket"

    def __init__(self, viewers, moderator):
        self.viewers, self.moderator = viewers, moderator

    async def say(self, run, **more):
        author = {"id": run.author, "name": run.author}
        frame = {"type": "message", "id": run.id, "author": author, "text": text_of(run), **more}
        await self.viewers.send(json.dumps(frame))

    async def take_back(self, run, scope):
        frame = {"message": {"type": "delete", "id": run.id}, "author": {"type": "ban", "author_id": run.author}}
        await self.moderator.send(json.dumps(frame.get(scope, {"type": "clear"})))


class TwitchPort:
    """The same things, as Twitch tells them."""

    name = "twitch"

    def __init__(self, session):
        self.session = session

    async def say(self, run):
        await self.session.notify("channel.chat.message", said(text_of(run), run.id, run.author, run.author))

    async def take_back(self, run, scope):
        topic, event = {
            "message": ("channel.chat.message_delete", {"target_user_id": run.author, "message_id": run.id}),
            "author": ("channel.chat.clear_user_messages", {"target_user_id": run.author}),
        }.get(scope, ("channel.chat.clear", {}))
        await self.session.notify(topic, {**ROOM, **event})


async def race(books, number, port, places):
    """One message, taken back when it has come to the stage whose turn it is, or a moment later; sometimes twice."""
    goal = GOALS[number % len(GOALS)]
    run = books.begin(port.name, f"viewer-{number}")
    scope = books.random.choice(["message", "message", "author"]) if number % 97 else "all"
    async with places:
        if goal == "before" and (scope == "message" or port.name == "websocket") and scope != "all":
            await port.take_back(run, scope)
            await port.say(run)
            return
        await port.say(run)
        if goal in STAGES:
            await run.past(goal)
        if number % 2:
            await books.dawdle(0.003)
        await port.take_back(run, scope)
        if number % 13 == 0:
            await books.dawdle(0.003)
            await port.take_back(run, scope)
        while run.retracted_s is None:
            await asyncio.sleep(0.001)


async def drained(connection):
    with contextlib.suppress(asyncio.CancelledError):
        async for _ in connection:
            pass


def replies(books, sink):
    """By reply: the words of the message it answers, and its outcomes as they were told, on one sink."""
    answers, outcomes = {}, collections.defaultdict(list)
    for _, name, text in books.out:
        frame = json.loads(text) if name.startswith(sink) else {}
        if frame.get("in_reply_to") and "seq" in frame:
            answers[frame["reply_id"]] = WORD.search(frame["in_reply_to"]["text"]).group()
        elif "outcome" in frame:
            outcomes[frame["reply_id"]].append(frame["outcome"])
    return answers, outcomes


def check_sinks(books, seed):
    """Nothing of it left afterwards, and what had left was withdrawn, the last word on it."""
    assert not books.leaks(), (seed, books.leaks()[:5])
    for sink in ("bus/", "ws0"):
        answers, outcomes = replies(books, sink)
        taken = {reply for reply, word in answers.items() if books.runs[word].scope in ("message", "author")}
        kept = {reply: outcomes[reply] for reply in taken if outcomes[reply][-1:] != ["retracted"]}
        assert taken
        assert not kept, (seed, sink, [(books.runs[answers[reply]].hit, told) for reply, told in kept.items()])


def check_stores(books, brain, path, seed):
    """It is in no memory, and marked in the transcript, as is what was said to it."""
    assert not WORD.search(repr([brain.memory._window, brain.memory._viewers])), seed
    with contextlib.closing(sqlite3.connect(path)) as database:
        unmarked = database.execute("SELECT text FROM messages WHERE retracted_at IS NULL").fetchall()
        spoken = database.execute("SELECT message_id FROM turns WHERE outcome = 'spoken'").fetchall()
    assert not unmarked, seed
    assert not [id_ for (id_,) in spoken if books.runs[f"tok{id_[-5:]}"].scope in ("message", "author")], seed


async def run_races(monkeypatch, tmp_path, num_runs, seed):
    books, path = Books(seed), tmp_path / "transcripts.sqlite3"
    places = asyncio.Semaphore(AT_ONCE)
    async with mocked(monkeypatch) as twitch:
        log_in(twitch)
        reading = {"reply_in_chat": "all", "reply_queue": 1000, "reply_max_age_s": 60}
        source = TwitchChat(twitch_settings(**reading), Metrics(), lambda *_: None)
        twitch.on_post = lambda body: books.publish("twitch", json.dumps(body))
        async with alive(books, WIDE_OPEN, path, source) as (brain, url), connect(url) as one, connect(url) as two:
            session = await twitch.subscribed()
            ports = [WebSocketPort(one, two), WebSocketPort(one, two), TwitchPort(session)]
            ears = [asyncio.create_task(drained(connection)) for connection in (one, two)]
            async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
                for number in range(num_runs):
                    group.create_task(race(books, number, ports[number % len(ports)], places))
            await brain.idle()
            for ear in ears:
                ear.cancel()
    return books, brain, path


@pytest.mark.parametrize(
    ("seed", "num_runs"),
    [
        (int(os.environ.get("RACE_SEED", 11)), 1000),
        pytest.param(12, 5_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
async def test_what_is_taken_back_at_any_moment_is_said_nowhere(monkeypatch, tmp_path, seed, num_runs):
    books, brain, path = await run_races(monkeypatch, tmp_path, num_runs, seed)
    hits = collections.Counter(run.hit for run in books.runs.values())
    check_sinks(books, seed)
    check_stores(books, brain, path, seed)
    assert all(hits[stage] >= 10 for stage in WANTED), (seed, hits)
