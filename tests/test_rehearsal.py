"""A stream lived through under the virtual clock: the same decisions for a seed, books that balance, no leaks."""

import asyncio
import gc
import io
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
import structlog

from tests.support.streams import Stream
from vtuber_brain.chat.record import Noted, line
from vtuber_brain.chat.replay import read_recording, recorded_lines
from vtuber_brain.config import Settings
from vtuber_brain.context.personas import load_persona
from vtuber_brain.engine.scripted import Pace
from vtuber_brain.messages import Drop
from vtuber_brain.rehearsal import SOURCE, incoming, rehearse, rehearse_file
from vtuber_brain.runtime.virtual import VirtualLoop

MORI = Path(__file__).parent / "data" / "stream_mori.jsonl"
PERSONA = load_persona("mori")
LOTTERY = Settings(choice={"strategy": "weighted"}, speech={"thinking": 1})
SLOW = Pace((1.0, 2.0), (0.1, 0.2))


def decided(path, settings, seed=0, **options):
    """Every decision as it is printed, and the summary."""
    out = io.StringIO()
    summary = rehearse_file(path, settings, seed=seed, out=out, **options)
    return out.getvalue(), summary


def live(recording, settings, tell=lambda _: None, **options):
    """The summary of a stream that is no file."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(rehearse(recording, settings, PERSONA, tell=tell, **options))


def fates(summary):
    return sum(sum(fate.values()) for fate in (summary.outcomes, summary.dropped, summary.denied, summary.errors))


def command(*arguments, **env):
    return subprocess.run(
        [sys.executable, "-m", "vtuber_brain", "replay", *map(str, arguments), "--virtual"],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, **env},
    )


@pytest.fixture(autouse=True)
def quiet():
    """The events of half a million replies would fill the memory that is weighed here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture
def written(tmp_path):
    """A function that writes lines as a recording and returns its path."""

    def write(*lines):
        path = tmp_path / "stream.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
        return path

    return write


def said(id_, at=0.0, text="what game is this?", author="kopi", **fields):
    return {"at": at, "type": "message", "id": id_, "author": {"id": author, "name": author}, "text": text, **fields}


def test_the_same_file_and_seed_give_the_same_bytes_in_any_process():
    first, second = (command(MORI, "--seed", 3, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    events = Counter(json.loads(one)["event"] for one in first.stdout.splitlines())
    assert set(events) == {"judged", "said", "cue", "dropped", "retraction", "turn"} - ({"cue"} - set(events))
    assert b"received" in first.stderr


def test_another_seed_draws_other_lots():
    def answered(seed):
        told = []
        live(Stream(200, 0.01), LOTTERY, told.append, seed=seed)
        return [event["id"] for event in told if event["event"] == "turn" and "id" in event]

    one, same, other = (answered(seed) for seed in (1, 1, 2))
    assert one == same != other


def test_every_message_of_a_stream_has_one_fate():
    text, summary = decided(MORI, Settings())
    assert summary.received == sum(one.frame.type == "message" for one in read_recording(MORI)) == fates(summary)
    assert summary.unsettled == 0
    assert summary.answered > 300
    assert summary.latency_p95_s < 5
    drops = Counter(event["reason"] for event in map(json.loads, text.splitlines()) if event["event"] == "dropped")
    assert drops == summary.dropped


def test_it_is_written_what_counted_for_the_message_that_was_taken(written):
    path = written(said("a"), said("b", text="gg"), said("c", at=0.01, text="hello Mori how was your day?", author="x"))
    text, _ = decided(path, Settings(speech={"thinking": 1}))
    judged = [event for event in map(json.loads, text.splitlines()) if event["event"] == "judged"]
    assert [event["id"] for event in judged][:2] == ["a", "c"]
    assert judged[1]["waiting"] == 2
    assert judged[1]["score"] > 3


def test_a_message_is_taken_back_wherever_the_recording_says(written):
    path = written(
        {"at": 0, "type": "delete", "id": "early"},
        said("early"),
        said("late", at=10.0),
        {"at": 10.2, "type": "delete", "id": "late"},
        said("banned", at=20.0, author="troll"),
        {"at": 20.1, "type": "ban", "author_id": "troll", "for_s": 60},
        said("still", at=79.0, author="troll", text="am I back?"),
        said("again", at=82.0, author="troll", text="and now, am I?"),
    )
    text, summary = decided(path, Settings())
    last = {event["id"]: event for event in map(json.loads, text.splitlines()) if event.get("event") in FATES}
    assert last["early"]["reason"] == Drop.RETRACTED
    assert last["late"]["outcome"] == last["banned"]["outcome"] == "retracted"
    assert last["still"]["reason"] == Drop.BANNED
    assert last["again"]["outcome"] == "spoken"
    assert fates(summary) == summary.received == 5


FATES = {"dropped", "turn"}


def test_a_platform_that_tells_late_keeps_the_order_of_what_happened_there(written):
    """The second message was written before chat was cleared, and comes after it."""
    path = written(
        said("before", sent_at=0.0, source="twitch"),
        {"at": 10, "sent_at": 9.5, "source": "twitch", "type": "clear"},
        said("overtaken", at=10.5, sent_at=9.0, source="twitch", text="is anybody there?"),
        said("after", at=11.0, sent_at=10.0, source="twitch", text="what happened to chat?"),
    )
    text, _ = decided(path, Settings())
    last = {event["id"]: event for event in map(json.loads, text.splitlines()) if event.get("event") in FATES}
    assert [last[one].get("outcome") for one in ("before", "overtaken", "after")] == ["retracted", None, "spoken"]


def test_the_same_id_from_two_sources_is_two_messages(written):
    path = written(said("a", source="twitch"), said("a", source="websocket", text="something quite different, I think"))
    _, summary = decided(path, Settings())
    assert summary.outcomes == {"spoken": 2}


def test_a_recording_of_what_was_delivered_gives_the_same_decisions(tmp_path):
    stream = list(Stream(400, 0.05, seed=5))
    path = tmp_path / "recorded.jsonl"
    with path.open("wb") as file:
        for one in stream:
            delivered = incoming(one.frame, source=one.source, at=1e9 + one.at, received_s=one.at)
            file.write(line(Noted(one.at, 1e9 + one.at, delivered), 0.0))
    rounded = [round(one.at, 6) for one in stream]
    assert [one.at for one in recorded_lines(path)] == rounded
    first, second = [], []
    live(stream, Settings(), first.append)
    live(recorded_lines(path), Settings(), second.append)
    assert [{**event, "at": 0} for event in first] == [{**event, "at": 0} for event in second]
    assert {"turn", "dropped", "retraction"} <= {event["event"] for event in first}


def test_answers_come_from_a_file(written, tmp_path):
    answers = tmp_path / "answers.txt"
    answers.write_text("[wave] Halo from the file.\n\n")
    done = command(written(said("a")), "--answers", answers, "--json")
    *decisions, summary = map(json.loads, done.stdout.splitlines())
    assert [event["text"] for event in decisions if event["event"] == "said"] == ["Halo from the file."]
    assert summary["answered"] == 1


def test_decisions_go_to_a_file_and_the_summary_to_the_terminal(written, tmp_path):
    out = tmp_path / "decisions.jsonl"
    done = command(written(said("a")), "--decisions", out)
    assert b"answered" in done.stdout
    assert [json.loads(one)["event"] for one in out.read_text().splitlines()][-1] == "turn"


def test_a_bad_line_is_named_before_anything_is_decided(written):
    done = command(written(said("a"), {"at": 1, "type": "hello"}))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"stream.jsonl:2: type" in done.stderr


def test_answers_that_cannot_be_had_are_named(written, tmp_path):
    done = command(written(said("a")), "--answers", tmp_path / "none.txt")
    assert done.returncode == 2
    assert b"one answer a line" in done.stderr


def test_a_line_without_a_source_is_of_the_websocket(written):
    text, _ = decided(written(said("a")), Settings())
    assert json.loads(text.splitlines()[0])["source"] == SOURCE


class Watched:
    """A stream that weighs the process after each tenth of it."""

    def __init__(self, stream, num):
        self.stream, self.num, self.weights = stream, num, []

    def __iter__(self):
        yet = 0
        for one in self.stream:
            yield one
            if self.stream.num_messages >= (yet + 1) * self.num // 10:
                yet += 1
                gc.collect()
                me = psutil.Process()
                self.weights.append((me.memory_info().rss, me.num_fds(), len(asyncio.all_tasks())))


@pytest.fixture
def small_stores(monkeypatch):
    """All that is bounded is full after a tenth of the stream, and from then on forgets as much as it learns."""
    for limit in ("choice.MAX_VIEWERS", "waves.MAX_BEGUN", "inbox.MAX_AUTHORS", "inbox.MAX_BANNED"):
        monkeypatch.setattr(f"vtuber_brain.chat.{limit}", 128)
    return {"chat": {"dedupe": 512}, "memory": {"viewers": 128}, "speech": {"thinking": 2}}


def soak(num, hours, stores):
    """A stream of so many messages; how the process weighed after each tenth, and the summary."""
    watched = Watched(Stream(num, hours, seed=11), num)
    return watched.weights, live(watched, Settings(**stores), pace=SLOW)


def check_soak(weights, summary, num):
    assert summary.received == fates(summary) == num
    assert summary.unsettled == 0
    drops = set(summary.dropped)
    assert drops <= set(Drop)
    assert {"too_old", "wave", "folded", "duplicate", "retracted", "banned"} <= drops
    assert {"retracted", "spoken"} <= set(summary.outcomes) <= {"retracted", "spoken", "cut"}
    (_, fds, _), (_, fds_then, tasks_then) = weights[0], weights[-1]
    assert fds_then <= fds
    assert tasks_then <= 6 + 2 * 2 + 2, "publisher, pipeline, silence, crowd, stream and main; two replies with judges"


def test_twenty_minutes_with_four_thousand_messages_leave_nothing_behind(small_stores):
    weights, summary = soak(4_000, 0.33, small_stores)
    check_soak(weights, summary, 4_000)


@pytest.mark.slow
@pytest.mark.parametrize(("num", "hours"), [(30_000, 0.72), (1_000_000, 24)])
@pytest.mark.timeout(7200)
def test_a_day_with_a_million_messages_makes_her_no_heavier(num, hours, small_stores):
    weights, summary = soak(num, hours, small_stores)
    check_soak(weights, summary, num)
    weighed = [bytes_ for bytes_, _, _ in weights]
    assert weighed[-1] < 1.05 * weighed[0], weighed
    print([round(one / 1e6, 1) for one in weighed], summary)
