"""The corpora that ship: in their persona's voice and limits, in the shapes of a live prompt, and varied."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from vtuber_brain.config import shipped
from vtuber_brain.context.memory import Memory, Recalled
from vtuber_brain.context.personas import Persona, load_persona, personas
from vtuber_brain.context.prompt import build, opening
from vtuber_brain.messages import Author, ChatMessage, Kind, Mood, Sentiment, Turn
from vtuber_brain.sections import MemorySettings, SentimentSettings
from vtuber_brain.sentiment.judge import decide
from vtuber_brain.sentiment.rules import RuleSet, apply_spoken

Row = dict[str, str | list[dict[str, str]]]

RULES = RuleSet.load(SentimentSettings())
DEEDS: dict[str, Kind] = {
    "cheers": "cheer",
    "just subscribed": "sub",
    "gives subscriptions to others": "gift",
    "arrives with a raid": "raid",
    "redeems a reward": "redeem",
    "begins to follow": "follow",
    "makes an announcement": "announcement",
}
FEELINGS: dict[str, Sentiment] = {"sounds happy": "positive", "sounds unhappy": "negative"}
MAX_LETTERS = 14
SPOKEN = re.compile(r"\[([a-z]+)\] ([A-Za-z][A-Za-z .,:!?'-]*[.!?])")
DEED = re.compile(rf"\((?P<name>.+?) (?P<deed>{'|'.join(DEEDS)})(?P<measure>.*)\.\)")
KNOWN = re.compile(r" (?:likes|has(?! talked)|is|said last time:) ")
INDONESIAN = re.compile(
    r"\b(?:halo|hai|malam|pagi|selamat|terima|kasih|semangat|aku|kamu|dan|yang|tidak|hati|apa|sudah|boleh|satu|kata|sama"
    r"|suka|bilang|jangan|siapa|seperti|duduk|cuma|pulang|ibu|rumah|kancing|payung|sendok|tapi|semoga|pernah|ayo|adik)\b",
    re.IGNORECASE,
)

TRAINED = [name for name in personas() if shipped("configs", "personas", name, "corpus.jsonl").is_file()]


@cache
def corpus(name: str) -> tuple[Row, ...]:
    text = shipped("configs", "personas", name, "corpus.jsonl").read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines())


def turns(row: Row) -> list[tuple[str, str]]:
    """What a conversation's viewers wrote and what was answered, pair by pair."""
    contents = [turn["content"] for turn in row["messages"] if isinstance(turn, dict)]
    return list(zip(contents[0::2], contents[1::2], strict=True))


def heard(name: str) -> list[str]:
    return [user for row in corpus(name) for user, _ in turns(row)]


def said(name: str) -> list[str]:
    return [answer for row in corpus(name) for _, answer in turns(row)]


def parted(content: str) -> tuple[str, str, str]:
    """A viewer's turn as its notes, its stage direction and its `Name: text`, each empty when it is not there."""
    lines = content.split("\n")
    notes = lines.pop(0)[1:-1] if lines[0].startswith("(") and not DEED.fullmatch(lines[0]) else ""
    deed = lines.pop(0) if lines and lines[0].startswith("(") else ""
    return notes, deed, "\n".join(lines)


def message(content: str, number: int = 0) -> ChatMessage:
    """The message that a prompt shows so, its notes aside but for how many say the same."""
    notes, deed, line = parted(content)
    name, _, text = line.partition(": ")
    kind: Kind = "chat"
    amount = 0.0
    if deed:
        found = DEED.fullmatch(deed)
        assert found, content
        name, kind = found["name"], DEEDS[found["deed"]]
        amount = float("".join(re.findall(r"\d", found["measure"])) or 0)
    asking = re.search(r"(\d+) viewers say the same\.$", notes)
    num_asking = int(asking[1]) if asking else 1
    return ChatMessage(
        "t", f"m{number}", Author(name, name), text, float(number), 0.0, kind, amount, num_asking=num_asking
    )


def facts(content: str) -> tuple[tuple[str, ...], Mood | None]:
    """What the notes say of the viewer, and the mood they tell."""
    notes, _, _ = parted(content)
    name = message(content).author.name
    found = [note for note in re.split(rf" ?(?:^|(?<=\. )){re.escape(name)} ", notes) if note]
    told = [note.strip().removesuffix(".") for note in found if not re.match(r"\d+ viewers", note)]
    told = [re.sub(r"\. \d+ viewers say the same$", "", note) for note in told]
    feeling = next((FEELINGS[note] for note in told if note in FEELINGS), None)
    mood = Mood(feeling, {feeling: 0.9}) if feeling else None
    return tuple(note for note in told if note not in FEELINGS), mood


def rebuilt(persona: Persona, content: str) -> str:
    """`content` taken apart and put together by the live prompt: the same when it has that shape."""
    told, mood = facts(content)
    one = message(content)
    return build(persona, Recalled((), told), [], one, one.text, mood, MemorySettings())[-1]["content"]


def remembered(persona: Persona, row: Row) -> list[dict[str, str]]:
    """The live prompt of a conversation's last turn, its past having gone through memory."""
    memory = Memory(MemorySettings())
    *past, (last, _) = turns(row)
    for number, (user, answer) in enumerate(past):
        memory.remember(Turn(str(number), message(user, number), "spoken", answer, answer, persona.name, "", None))
    one = message(last, len(past))
    _, mood = facts(last)
    return build(persona, memory.recall(one), [], one, one.text, mood, MemorySettings())[len(opening(persona)) :]


def musings(persona: Persona) -> set[str]:
    return {f"({musing})" for musing in persona.musings}


def words(answer: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z']+", answer.lower().split("] ", 1)[1]))


def alike(answers: list[str], likeness: float) -> Iterator[tuple[str, str]]:
    """Pairs whose sets of words share more than `likeness` of their union."""
    seen = [(answer, words(answer)) for answer in answers]
    for index, (one, first) in enumerate(seen):
        for other, second in seen[:index]:
            if len(first & second) > likeness * len(first | second):
                yield other, one


@pytest.mark.parametrize("name", TRAINED)
def test_every_line_is_a_conversation_under_an_id_of_its_own(name):
    rows = corpus(name)
    assert [row["id"] for row in rows] == [f"{name}-{number:04}" for number in range(1, len(rows) + 1)]
    for row in rows:
        assert set(row) == {"id", "topic", "messages"} and row["topic"], row["id"]
        roles = [turn["role"] for turn in row["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and 1 <= len(turns(row)) <= 5, row["id"]


@pytest.mark.parametrize("name", TRAINED)
def test_an_answer_is_short_begins_with_a_known_cue_and_can_be_spoken(name):
    persona = load_persona(name)
    for answer in said(name):
        found = SPOKEN.fullmatch(answer)
        assert found and found[1] in persona.cues.names, answer
        assert len(answer.split()) <= persona.style.max_words, answer
        assert max(map(len, re.findall(r"[A-Za-z]+", found[2]))) <= MAX_LETTERS, answer
    cues = Counter(answer.split("]")[0][1:] for answer in said(name))
    assert set(cues) == set(persona.cues.names) and min(cues.values()) > len(said(name)) / 25


@pytest.mark.parametrize("name", TRAINED)
def test_no_answer_would_be_held_back(name):
    persona = load_persona(name)
    held = [(answer, why) for answer in said(name) if (why := apply_spoken(answer, RULES, persona.blocked_topics))]
    assert held == []


@pytest.mark.parametrize("name", TRAINED)
def test_nothing_a_viewer_writes_would_have_been_stopped_but_what_is_refused(name):
    own = musings(load_persona(name))
    asked = [(row["topic"], message(user).text) for row in corpus(name) for user, _ in turns(row) if user not in own]
    stopped = [(topic, text, why) for topic, text in asked if text and (why := decide(text, RULES).reasons)]
    assert [one for one in stopped if one[0] != "refusals" or "blocked_word" in one[2]] == []


@pytest.mark.parametrize("name", TRAINED)
def test_every_turn_of_a_viewer_has_the_shape_of_a_live_prompt(name):
    persona = load_persona(name)
    own = musings(persona)
    assert [user for user in heard(name) if user not in own and rebuilt(persona, user) != user] == []


def test_moris_conversations_are_what_her_memory_would_put_into_the_prompt():
    mori = load_persona("mori")
    own = musings(mori)
    talks = [row for row in corpus("mori") if len(turns(row)) > 1 and not own & {user for user, _ in turns(row)}]
    assert len(talks) > 150
    assert [row["id"] for row in talks if remembered(mori, row) != row["messages"][:-1]] == []


@pytest.mark.parametrize("name", TRAINED)
def test_no_two_answers_are_nearly_the_same(name):
    persona = load_persona(name)
    assert list(alike([*said(name), *(example.says for example in persona.examples)], 0.6)) == []


def test_moris_answers_do_not_all_open_alike():
    answers = said("mori")
    openings = Counter(" ".join(answer.split()[1:3]) for answer in answers)
    assert openings.most_common(1)[0][1] <= len(answers) / 50
    speakers = [message(user).author.name.split()[0] for user in heard("mori") if not user.startswith("(Nobody")]
    named = [answer.split()[1].rstrip(",.!?") in speakers for answer in answers]
    assert sum(named) < len(answers) / 10


def test_moris_viewers_are_many_and_none_is_heard_much_more_than_others():
    first = [turns(row)[0][0] for row in corpus("mori")]
    names = Counter(message(user).author.name for user in first if user not in musings(load_persona("mori")))
    assert len(names) >= 150 and names.most_common(1)[0][1] <= 4


def topic(*names: str) -> int:
    return sum(row["topic"] in names for row in corpus("mori"))


LINES = len(corpus("mori"))
ANSWERS = said("mori")
HEARD = heard("mori")


@pytest.mark.parametrize(
    ("share", "within", "count", "of"),
    [
        (0.12, 0.02, topic("refusals"), LINES),
        (0.08, 0.02, topic("money"), LINES),
        (0.25, 0.03, sum("?" in answer for answer in ANSWERS), len(ANSWERS)),
        (0.25, 0.03, sum(len(turns(row)) > 1 for row in corpus("mori")), LINES),
        (0.15, 0.04, sum(bool(KNOWN.search(parted(turns(row)[-1][0])[0])) for row in corpus("mori")), LINES),
        (0.06, 0.02, sum(INDONESIAN.search(answer) is not None for answer in ANSWERS), len(ANSWERS)),
    ],
    ids=["refusals", "money", "questions back", "several turns", "memory", "Indonesian"],
)
def test_each_kind_of_exchange_has_its_share_of_moris_corpus(share, within, count, of):
    assert count / of == pytest.approx(share, abs=within)


def test_moris_corpus_has_the_size_and_the_topics_asked_of_it():
    assert len(ANSWERS) >= 1150 and 750 <= LINES <= 900
    assert sum(user == "(Nobody has written for a while.)" for user in HEARD) == 40
    assert all(topic(name) >= 20 for name in ("care", "same question", "lost things", "knowledge", "indonesian"))
