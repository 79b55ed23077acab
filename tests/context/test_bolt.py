"""Bolt's corpus and the side-by-side prompts are in his voice, in a live prompt's shapes, and within his limits."""

import json
import re
from collections import Counter

import pytest

from vtuber_brain.config import shipped
from vtuber_brain.context.memory import Recalled
from vtuber_brain.context.personas import load_persona
from vtuber_brain.context.prompt import build, muse
from vtuber_brain.messages import Author, ChatMessage, Kind, Mood
from vtuber_brain.sections import MemorySettings, SentimentSettings
from vtuber_brain.sentiment.judge import decide
from vtuber_brain.sentiment.rules import RuleSet, apply_spoken

BOLT = load_persona("bolt")
RULES = RuleSet.load(SentimentSettings())
SILENCE = muse(BOLT, Recalled(), BOLT.musings[0], MemorySettings())[-1]["content"]
DEEDS: dict[str, Kind] = {
    "cheers": "cheer",
    "just subscribed": "sub",
    "gives subscriptions": "gift",
    "arrives with": "raid",
    "redeems": "redeem",
    "begins to follow": "follow",
}
FEELINGS = {"sounds happy": "positive", "sounds unhappy": "negative"}


def lines(persona, file):
    text = shipped("configs", "personas", persona, file).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


ROWS = lines("bolt", "corpus.jsonl")
HEARD = [turn["content"] for row in ROWS for turn in row["messages"][0::2]]
SAID = [turn["content"] for row in ROWS for turn in row["messages"][1::2]]


def event(deed):
    kind = next(kind for words, kind in DEEDS.items() if deed.startswith(words))
    return kind, float(number[0]) if (number := re.findall(r"\d+", deed)) else 0.0


def rebuilt(content):
    """`content` taken apart and put together by `prompt.build`: the same text if its shape is live's."""
    *heads, body = content.split("\n") if not content.endswith(".)") else [*content.split("\n"), ""]
    name, _, text = body.partition(": ") if body else (heads[-1][1:].split(" ")[0], "", "")
    facts, mood, kind, amount, num_asking = [], None, "chat", 0.0, 1
    for head in heads:
        for note in re.split(rf"(?<=\.) (?={re.escape(name)} |\d+ viewers )", head[1:-1]):
            rest = note.removesuffix(".").removeprefix(f"{name} ")
            if any(rest.startswith(words) for words in DEEDS):
                kind, amount = event(rest)
            elif rest in FEELINGS:
                mood = Mood(FEELINGS[rest], {FEELINGS[rest]: 0.9})
            elif found := re.fullmatch(r"(\d+) viewers say the same", rest):
                num_asking = int(found[1])
            else:
                assert note.startswith(f"{name} "), note
                facts.append(rest)
    message = ChatMessage("t", "1", Author("a", name), text, 0, 0, kind, amount, num_asking=num_asking)
    return build(BOLT, Recalled((), tuple(facts)), [], message, text, mood, MemorySettings())[-1]["content"]


def words(text):
    return frozenset(re.findall(r"[a-z']+", text.lower().split("] ", 1)[1]))


def test_there_are_enough_exchanges_under_ids_of_their_own():
    assert len(SAID) >= 380 and len(HEARD) == len(SAID)
    assert [row["id"] for row in ROWS] == [f"bolt-{number:04}" for number in range(1, len(ROWS) + 1)]
    for row in ROWS:
        roles = [turn["role"] for turn in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2), row["id"]
        assert row["topic"] and len(row) == 3


def test_he_answers_in_a_short_burst_that_begins_with_one_of_his_cues():
    for said in SAID:
        cue, spoken = re.fullmatch(r"\[([a-z]+)\] ([A-Za-z ,.!?'-]+)", said).groups()
        assert cue in BOLT.cues.names, said
        assert len(spoken.split()) <= BOLT.style.max_words and len(re.findall(r"[.!?]+", spoken)) <= 4, said
    assert min(Counter(said.split("]")[0] for said in SAID).values()) > len(SAID) / 20


def test_he_says_nothing_he_must_not_and_hears_nothing_the_rules_would_stop():
    assert [said for said in SAID if apply_spoken(said.split("] ", 1)[1], RULES, BOLT.blocked_topics)] == []
    texts = [heard.split("\n")[-1].partition(": ")[2] for heard in HEARD]
    assert [text for text in texts if text and decide(text, RULES).action == "deny"] == []


def test_every_viewers_turn_has_the_shape_of_a_live_prompt():
    last = [row["messages"][-2]["content"] for row in ROWS]
    assert [heard for heard in last if heard != SILENCE and rebuilt(heard) != heard] == []


def test_notes_stand_in_the_last_turn_only_as_a_prompt_has_them():
    past = [turn["content"] for row in ROWS for turn in row["messages"][:-2:2]]
    noted = [heard for heard in past if heard.startswith("(") and not any(deed in heard for deed in DEEDS)]
    assert noted == []


def test_no_two_answers_are_nearly_the_same():
    sets = [(said, words(said)) for said in SAID]
    likeness = [
        (one, other)
        for index, (one, first) in enumerate(sets)
        for other, second in sets[:index]
        if len(first & second) > 0.6 * len(first | second)
    ]
    assert likeness == []


@pytest.mark.parametrize(
    ("share", "count", "of"),
    [
        (0.12, sum(len(row["messages"]) // 2 for row in ROWS if row["topic"] == "refusals"), len(SAID)),
        (0.25, sum("?" in said for said in SAID), len(SAID)),
        (0.15, sum(bool(re.search(r"\(\S+ (likes|has|is|said) ", heard)) for heard in HEARD), len(HEARD)),
        (0.08, sum(any(deed in heard.split(".)")[0] for deed in DEEDS) for heard in HEARD), len(HEARD)),
        (0.05, sum(len(row["messages"]) // 2 for row in ROWS if row["topic"] == "indonesian"), len(SAID)),
        (0.20, sum(len(row["messages"]) > 2 for row in ROWS), len(ROWS)),
        (0.03, HEARD.count(SILENCE), len(HEARD)),
    ],
)
def test_each_kind_of_exchange_has_its_share(share, count, of):
    assert count / of == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("persona", ["bolt", "mori"])
def test_the_side_by_side_prompts_stand_in_no_corpus(persona):
    prompts = lines(persona, "eval.jsonl")
    rows = [row for name in ("bolt", "mori") for row in lines(name, "corpus.jsonl")]
    heard = {turn["content"] for row in rows for turn in row["messages"]}
    assert len({row["id"] for row in prompts}) == len(prompts) == 20
    assert [row for row in prompts if rebuilt(row["content"]) != row["content"] or row["content"] in heard] == []


def test_bolt_shares_moris_limits_and_little_else():
    mori = load_persona("mori")
    assert set(BOLT.blocked_topics) >= set(mori.blocked_topics)
    assert not set(BOLT.cues.names) & set(mori.cues.names)
    assert all(f"[{cue}]" in BOLT.system for cue in BOLT.cues.names)
    lines_of_his = [*BOLT.safe_lines, *(example.says for example in BOLT.examples)]
    assert [line for line in lines_of_his if apply_spoken(line, RULES, BOLT.blocked_topics)] == []
