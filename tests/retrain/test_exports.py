"""Transcripts as datasets: what comes out is read in again as the same, and what must not come out does not."""

import json
import subprocess
import sys

import pytest

from tests.transcripts.conftest import Events
from vtuber_brain.context.personas import load_persona
from vtuber_brain.context.prompt import opening
from vtuber_brain.errors import ConfigError
from vtuber_brain.retrain.conversations import Message
from vtuber_brain.retrain.corpora import read_corpus
from vtuber_brain.retrain.exports import FORMS, conversations, exported
from vtuber_brain.sections import PersonaSettings
from vtuber_brain.transcripts.export import export
from vtuber_brain.transcripts.store import Transcripts

events = Events()
SECRET = "swordfish"


@pytest.fixture
async def path(tmp_path):
    """Two streams of ten kept turns each and one of every kind that is not, each of those with SECRET in its words."""
    path = tmp_path / "state" / "transcripts.db"
    for stream in (1, 2):
        async with Transcripts.open(path, persona="mori", model="tiny", release=None) as transcripts:
            for n in range(10):
                message = events.message(f"m{n}", f"viewer{n}", text=f"question {n} of {stream}", at=1000.0 + n)
                await heard(transcripts, message, f"[smile] Answer {n} of {stream}.", "cut" if n == 3 else "spoken")
            await unheard(transcripts)
    return path


async def heard(transcripts, message, answer, outcome="spoken", *reasons):
    await transcripts.append(message)
    await transcripts.append(events.judged(message, *reasons))
    await transcripts.append(events.turn(message, outcome, text=answer + " More.", heard_text=answer))


async def unheard(transcripts):
    await heard(transcripts, events.message("deleted", text=SECRET), SECRET)
    await transcripts.append(events.retraction("message", "deleted"))
    await heard(transcripts, events.message("banned", "troll", text=SECRET), SECRET)
    await transcripts.append(events.retraction("author", "troll"))
    await heard(transcripts, events.message("denied", text=SECRET), SECRET, "spoken", "toxic")
    for outcome in ("retracted", "refused", "failed"):
        await heard(transcripts, events.message(outcome, text=SECRET), SECRET, outcome)
    await heard(transcripts, events.message("silent", text=SECRET), "")
    message = events.message("unjudged", text=SECRET)
    await transcripts.append(message)
    await transcripts.append(events.turn(message, heard_text=SECRET))
    await transcripts.append(events.turn(None, reply_id="said", heard_text=SECRET))


def written(tmp_path, rows, name="rows.jsonl"):
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def says(path):
    return list(conversations(export(path), PersonaSettings()))


def test_a_row_is_her_opening_and_then_what_her_prompts_said_and_what_was_heard(path):
    first, second, *others = says(path)
    persona = load_persona("mori")
    num_opening = len(opening(persona))
    assert [(m.role, m.content) for m in first.messages[:num_opening]] == [
        (part["role"], part["content"]) for part in opening(persona)
    ]
    assert all(m.weight == 0 for m in first.messages[:num_opening] if m.role == "assistant")
    assert first.messages[num_opening : num_opening + 2] == (
        Message("user", "(Viewer0 sounds happy.)\nViewer0: question 0 of 1"),
        Message("assistant", "[smile] Answer 0 of 1."),
    )
    assert len(first.messages) - num_opening == 16
    assert len(second.messages) - num_opening == 4
    assert [(row.id, row.meta["stream"]) for row in (first, second, *others)] == [
        ("1/r-m0", 1),
        ("1/r-m8", 1),
        ("2/r-m0", 2),
        ("2/r-m8", 2),
    ]


@pytest.mark.parametrize("form", [*FORMS, "jsonl"])
def test_nothing_taken_back_denied_or_unheard_comes_out_of_any_format(path, tmp_path, form):
    corpus = read_corpus(written(tmp_path, exported(path, form)))
    words = "\n".join(row.words for row in corpus)
    assert SECRET not in words
    assert all(f"Answer {n} of {stream}." in words for n in range(10) for stream in (1, 2))


@pytest.mark.parametrize("form", ["openai", "sharegpt"])
def test_a_row_read_in_again_is_the_conversation(path, tmp_path, form):
    corpus = read_corpus(written(tmp_path, exported(path, form)))
    assert corpus.format == form
    assert [row.messages for row in corpus] == [row.messages for row in says(path)]


def test_trl_has_a_row_for_every_answer_with_all_before_it_as_its_prompt(path, tmp_path):
    corpus = read_corpus(written(tmp_path, exported(path, "trl")))
    wanted = [
        (*(Message(m.role, m.content, float(m.role != "assistant")) for m in row.messages[:place]), answer)
        for row in says(path)
        for place, answer in enumerate(row.messages)
        if answer.role == "assistant" and answer.weight
    ]
    assert (corpus.format, [row.messages for row in corpus]) == ("trl", wanted)
    assert len(wanted) == 20


def test_the_plain_export_is_a_corpus_of_single_exchanges_with_what_was_left_out_counted(path, tmp_path):
    corpus = read_corpus(written(tmp_path, exported(path, "jsonl", retracted=True)))
    pairs = [
        (row.messages[place], row.messages[place + 1])
        for row in says(path)
        for place in range(len(row.messages) - 1)
        if "question" in row.messages[place].content
    ]
    assert [row.messages for row in corpus] == pairs
    assert corpus.left_out == {"retracted": 6, "denied": 2, "not_heard": 6, "not_judged": 2, "no_message": 2}
    assert next(iter(corpus)).id == "1/r-m0"


def turn(**changes):
    return {
        "stream": 1,
        "reply_id": "r",
        "at": 1.0,
        "message": None,
        "verdict": None,
        "reply": {"outcome": "spoken", "heard_text": "[think] So quiet."},
        "persona": "nobody",
        **changes,
    }


def test_what_a_musing_made_her_say_is_learnt_as_such():
    (row,) = conversations([turn(musing="Nobody has written for a while.")], PersonaSettings())
    assert row.messages == (
        Message("user", "(Nobody has written for a while.)"),
        Message("assistant", "[think] So quiet."),
    )


def test_how_many_asked_and_what_plugins_knew_are_in_the_words_where_the_turn_has_them():
    author = {"id": "u1", "name": "Tono"}
    said = {"source": "w", "id": "m", "author": author, "kind": "cheer", "amount": 50, "text": "hello!", "at": 1.0}
    verdict = {"action": "allow", "text": "hello"}
    asked = turn(message=said, verdict=verdict, num_asking=3, facts=["has a cat"])
    (row,) = conversations([asked], PersonaSettings())
    assert row.messages[0].content == (
        "(Tono has a cat. 3 viewers say the same.)\n(Tono cheers with 50 bits.)\nTono: hello"
    )


def test_what_was_taken_back_cannot_be_asked_for_in_a_dataset(path):
    with pytest.raises(ConfigError, match="never part of a dataset"):
        exported(path, "openai", retracted=True)
    with pytest.raises(ConfigError, match=r"turn 1: reply_id"):
        next(conversations([{"stream": 1}], PersonaSettings()))


def test_the_command_writes_the_file(path, tmp_path):
    out = tmp_path / "mori.jsonl"
    command = [sys.executable, "-m", "vtuber_brain", "transcripts", "export", "--format"]
    done = subprocess.run([*command, "openai", "--stream", "2", "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row.messages for row in read_corpus(out)] == [row.messages for row in says(path)[2:]]
    refused = subprocess.run([*command, "trl", "--retracted"], capture_output=True, text=True)
    assert (refused.returncode, "never part of a dataset" in refused.stderr) == (2, True)
