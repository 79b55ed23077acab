"""The reading side: figures that add up, and turns that leave out what was taken back."""

import json

import pytest
from rich.console import Console

from vtuber_brain.errors import ConfigError
from vtuber_brain.messages import Drop
from vtuber_brain.transcripts.export import export, stats, table


async def write_a_stream(transcripts, events):
    """Ten messages: six answered, two denied, two dropped; the first one's author is banned later."""
    for n in range(10):
        message = events.message(f"m{n}", "troll" if n == 0 else "kopi", at=1000.0 + n)
        await transcripts.append(message)
        if n in {6, 7}:
            await transcripts.append(events.judged(message, "toxic" if n == 6 else "blocklist", "caps"))
        elif n in {8, 9}:
            await transcripts.append(events.dropped(message, Drop.TOO_OLD if n == 8 else Drop.DUPLICATE))
        else:
            await transcripts.append(events.judged(message))
            await transcripts.append(events.utterance(message, created_at=message.at + 0.1 * (n + 1)))
            await transcripts.append(events.utterance(message, 1, "Bye!", created_at=message.at + 5, final=True))
            await transcripts.append(events.turn(message, "cut" if n == 5 else "spoken"))
    await transcripts.append(events.turn(None, reply_id="say1"))
    await transcripts.append(events.retraction("author", "troll"))


async def test_stats_of_a_stream(opened, path, events):
    async with opened() as transcripts:
        await write_a_stream(transcripts, events)
        (running,) = stats(path)
        assert running.ended_at is None, "the file may be read while it is written"
    (stream,) = stats(path)
    assert (stream.stream, stream.persona, stream.model, stream.release) == (1, "mori", "tiny", "v1")
    assert stream.ended_at >= stream.started_at
    assert (stream.messages, stream.retracted) == (10, 1)
    assert stream.denied == {"blocklist": 1, "toxic": 1}
    assert stream.dropped == {"duplicate": 1, "too_old": 1}
    assert stream.turns == {"spoken": 6, "cut": 1}
    assert stream.latency_p50_s == pytest.approx(0.3)
    assert stream.latency_p95_s == pytest.approx(0.6)


async def test_streams_are_kept_apart(opened, path, events):
    async with opened() as transcripts:
        await write_a_stream(transcripts, events)
    async with opened(persona="other"):
        pass
    first, second = stats(path)
    assert (first.messages, second.messages) == (10, 0)
    assert (second.persona, second.latency_p50_s, dict(second.turns)) == ("other", None, {})


async def test_export_tells_all_of_a_turn(opened, path, events):
    message = events.message(kind="cheer", amount=50.0)
    async with opened() as transcripts:
        await transcripts.append(message)
        await transcripts.append(events.judged(message))
        await transcripts.append(events.utterance(message))
        await transcripts.append(events.turn(message))
        await transcripts.playback("r-m1", 0, "finished", 1002.0)
    (turn,) = export(path)
    assert turn.pop("at") > 0
    assert turn == {
        "stream": 1,
        "reply_id": "r-m1",
        "musing": None,
        "num_asking": 1,
        "facts": [],
        "message": {
            "source": "websocket",
            "id": "m1",
            "author": {"id": "kopi", "name": "Kopi", "roles": ["sub"]},
            "kind": "cheer",
            "amount": 50.0,
            "text": "hi Mori",
            "at": 1000.0,
            "retracted_at": None,
        },
        "verdict": {
            "action": "allow",
            "reasons": [],
            "text": "hi Mori",
            "sentiment": "positive",
            "scores": {"positive": 0.9, "neutral": 0.1},
            "toxicity": 0.02,
        },
        "reply": {
            "outcome": "spoken",
            "reason": None,
            "text": "Hi! Bye!",
            "heard_text": "Hi! Bye!",
            "utterances": [
                {
                    "seq": 0,
                    "text": "Hi!",
                    "cue": {"name": "smile", "intensity": 0.5, "for_ms": 900},
                    "mood": "positive",
                    "lang": "en",
                    "created_at": 1000.5,
                    "playback": "finished",
                    "playback_at": 1002.0,
                }
            ],
        },
        "persona": "mori",
        "model": "tiny",
        "release": "v1",
        "timings_ms": {"judge": 4.0},
    }
    json.dumps(turn)


async def test_what_was_taken_back_is_left_out_unless_asked_for(opened, path, events):
    async with opened() as transcripts:
        await write_a_stream(transcripts, events)
        unheard = events.message("m99")
        await transcripts.append(unheard)
        await transcripts.append(events.turn(unheard, "retracted"))
    kept = [turn["reply_id"] for turn in export(path)]
    assert kept == ["r-m1", "r-m2", "r-m3", "r-m4", "r-m5", "say1"]
    everything = {turn["reply_id"]: turn for turn in export(path, retracted=True)}
    assert set(everything) - set(kept) == {"r-m0", "r-m99"}
    assert everything["r-m0"]["message"]["retracted_at"] == 1010.0
    assert everything["say1"]["message"] is None
    assert everything["say1"]["verdict"] is None


async def test_export_of_one_stream(opened, path, events):
    for n in range(3):
        async with opened() as transcripts:
            message = events.message(f"m{n}")
            await transcripts.append(message)
            await transcripts.append(events.turn(message))
    assert [turn["reply_id"] for turn in export(path, stream=2)] == ["r-m1"]
    assert [turn["reply_id"] for turn in export(path)] == ["r-m0", "r-m1", "r-m2"]
    with pytest.raises(ConfigError, match="there is no stream 9"):
        next(export(path, stream=9))


async def test_files_that_cannot_be_read(opened, path, query, tmp_path):
    with pytest.raises(ConfigError, match="there are no transcripts"):
        stats(tmp_path / "nothing.db")
    letter = tmp_path / "letter.db"
    letter.write_text("dear diary, " * 1000)
    with pytest.raises(ConfigError, match="not a database"):
        stats(letter)
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(ConfigError, match="older"):
        stats(empty)
    async with opened():
        pass
    query("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        stats(path)


async def test_the_table_for_people(opened, path, events):
    async with opened() as transcripts:
        await write_a_stream(transcripts, events)
    console = Console(width=140, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(table(stats(path)))
    shown = captured.get()
    for part in (
        "mori",
        "10",
        "blocklist 1, toxic 1",
        "duplicate 1, too_old 1",
        "spoken 6, cut 1",
        "p50 0.30 s · p95 0.60 s",
    ):
        assert part in shown
