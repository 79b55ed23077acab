"""Memory keeps what was heard, within its bounds, and nothing that was taken back."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.context.memory import Memory, Recalled
from vtuber_brain.messages import Author, ChatMessage, Outcome, Retraction, Turn
from vtuber_brain.sections import MemorySettings

SETTINGS = MemorySettings(window=3, viewers=4, facts=3)


def said(text: str, n: int = 0, who: str = "ayu", source: str = "test") -> ChatMessage:
    return ChatMessage(source, f"m{n}", Author(who, who.title()), text, float(n), float(n))


def turn(message: ChatMessage | None, heard: str = "Hm.", outcome: Outcome = "spoken", text: str | None = None) -> Turn:
    return Turn("r", message, outcome, heard if text is None else text, heard, "mori", "tiny", None)


def traces(memory: Memory, value: object = None) -> str:
    """Everything memory holds, but for the retractions themselves, as text."""

    def plain(thing: Any) -> Any:
        return dataclasses.asdict(thing) if dataclasses.is_dataclass(thing) and not isinstance(thing, type) else thing

    return repr([plain(exchange) for exchange in memory._window]) + repr(
        {key: plain(viewer) for key, viewer in memory._viewers.items()}
    )


def test_the_window_holds_the_newest_turns_in_order() -> None:
    memory = Memory(SETTINGS)
    for n in range(5):
        memory.remember(turn(said(f"text {n}", n), f"reply {n}"))
    recalled = memory.recall(said("now", 9))
    assert [(e.message.text, e.heard_text) for e in recalled.exchanges] == [
        (f"text {n}", f"reply {n}") for n in (2, 3, 4)
    ]


def test_only_what_was_heard_is_remembered() -> None:
    memory = Memory(SETTINGS)
    memory.remember(turn(said("a", 1), "The beginning", "cut", text="The beginning and the end."))
    memory.remember(turn(said("b", 2), "", text="Never played."))
    memory.remember(turn(said("c", 3), "", "failed"))
    assert [e.heard_text for e in memory.recall(said("d", 4)).exchanges] == ["The beginning"]
    assert "and the end" not in traces(memory) and "Never" not in traces(memory)


def test_cleared_it_knows_nobody_and_refuses_what_was_taken_back_before() -> None:
    memory = Memory(SETTINGS)
    memory.remember(turn(said("my name is Kopi", 1)))
    memory.retract(Retraction("test", "message", "m2", 2.0))
    empty = traces(Memory(SETTINGS))
    memory.clear()
    memory.remember(turn(said("told too late", 2)))
    assert traces(memory) == empty


def test_a_reply_that_goes_in_circles_is_not_shown_again() -> None:
    memory = Memory(SETTINGS)
    memory.remember(turn(said("a", 1), "I'm sorry, I'm sorry, I'm sorry, I'm"))
    memory.remember(turn(said("b", 2), "No, no, I am sorry. I am fine."))
    assert [e.message.text for e in memory.recall(said("c", 3)).exchanges] == ["b"]


@pytest.mark.parametrize("outcome", ["retracted", "refused"])
def test_a_turn_that_was_withheld_leaves_no_trace(outcome: Outcome) -> None:
    memory = Memory(SETTINGS)
    memory.remember(turn(said("my name is Zed", 1), "Hello Zed.", outcome))
    memory.remember(turn(None, "Said by command."))
    assert memory.recall(said("hi", 2)) == Recalled()
    assert "Zed" not in traces(memory)


def test_facts_belong_to_their_viewer_and_stay_few() -> None:
    memory = Memory(SETTINGS)
    for n, text in enumerate(["my name is Bud", "I like tea", "I like rain", "I like moss", "I like moss!"]):
        memory.remember(turn(said(text, n)))
    memory.remember(turn(said("I like noise", 8, "rio")))
    for n in range(3):
        memory.remember(turn(said("hm", 20 + n, "wati")))
    assert memory.recall(said("hi", 9)).facts == (
        "likes moss",
        "likes rain",
        "likes tea",
        "has talked with you 5 times",
        'said last time: "I like moss!"',
    )
    assert memory.recall(said("hi", 9, "rio")).facts[0] == "likes noise"
    assert memory.recall(said("hi", 9, source="elsewhere")).facts == ()
    assert memory.recall(said("hi", 9, "nobody")).facts == ()


def test_a_name_that_is_shown_anyway_and_words_in_the_window_are_not_told_twice() -> None:
    memory = Memory(SETTINGS)
    memory.remember(turn(said("call me ayu", 1)))
    assert memory.recall(said("hi", 2)).facts == ()
    memory.remember(turn(said("call me Bud", 2)))
    assert memory.recall(said("hi", 3)).facts == ("is called Bud", "has talked with you 2 times")


def test_the_viewer_unseen_longest_is_forgotten() -> None:
    memory = Memory(SETTINGS)
    for n, who in enumerate(["a", "b", "c", "d"]):
        memory.remember(turn(said("I like tea", n, who)))
    memory.recall(said("hi", 5, "a"))
    memory.remember(turn(said("I like tea", 6, "e")))
    assert memory.recall(said("hi", 7, "b")).facts == ()
    assert memory.recall(said("hi", 7, "a")).facts[0] == "likes tea"
    assert len(memory._viewers) == 4


def filled() -> Memory:
    memory = Memory(MemorySettings(window=9))
    memory.remember(turn(said("I like owls", 1), "You like owls."))
    memory.remember(turn(said("I like moles", 2), "And moles."))
    memory.remember(turn(said("I like toads", 3, "rio"), "Toads!"))
    memory.remember(turn(said("I like newts", 4, source="other"), "Newts!"))
    return memory


def test_a_message_taken_back_is_forgotten_and_nothing_else() -> None:
    memory = filled()
    memory.retract(Retraction("test", "message", "m2", 5.0))
    assert "moles" not in traces(memory)
    recalled = memory.recall(said("hi", 9))
    assert recalled.facts == ("likes owls",)
    assert [e.message.id for e in recalled.exchanges] == ["m1", "m3", "m4"]


def test_a_banned_author_is_forgotten_and_nobody_else() -> None:
    memory = filled()
    memory.retract(Retraction("test", "author", "ayu", 5.0))
    assert "owls" not in traces(memory) and "moles" not in traces(memory)
    assert memory.recall(said("hi", 9, "rio")).facts[0] == "likes toads"
    assert memory.recall(said("hi", 9, source="other")).facts[0] == "likes newts"


def test_a_cleared_chat_is_forgotten_up_to_then_at_that_source() -> None:
    memory = filled()
    memory.remember(turn(said("I like herons", 6), "Herons!"))
    memory.retract(Retraction("test", "all", None, 5.0))
    assert "owls" not in traces(memory) and "toads" not in traces(memory)
    assert memory.recall(said("hi", 9)).facts == ("likes herons",)
    assert [e.message.id for e in memory.recall(said("hi", 9)).exchanges] == ["m4", "m6"]


@pytest.mark.parametrize(("scope", "target"), [("message", "m1"), ("author", "ayu"), ("all", None)])
def test_a_turn_that_ends_after_its_retraction_is_not_taken_in(scope, target) -> None:
    memory = Memory(SETTINGS)
    memory.retract(Retraction("test", scope, target, 5.0))
    memory.remember(turn(said("I like secret", 1)))
    assert "secret" not in traces(memory)


@pytest.mark.parametrize(("scope", "target"), [("author", "ayu"), ("all", None)])
def test_who_comes_back_later_is_remembered_again(scope, target) -> None:
    memory = Memory(SETTINGS)
    memory.retract(Retraction("test", scope, target, 5.0))
    memory.remember(turn(said("I like tea", 6)))
    assert memory.recall(said("hi", 7)).facts == ("likes tea",)


WORDS = ["".join(pair) for pair in itertools.product("bdfgkl", "aeiou")] + ["ma"]
people = st.sampled_from(["ayu", "rio", "wati"])
steps = st.lists(st.tuples(st.integers(0, 30), people, st.sampled_from(["spoken", "cut", "failed"])), max_size=25)


@given(steps, people, st.integers(0, 30), st.sampled_from(["message", "author", "all"]))
def test_no_trace_of_what_was_taken_back_survives(history, who, at, scope) -> None:
    memory = Memory(MemorySettings(window=6, viewers=2, facts=3))
    target: dict[str, Callable[[], str | None]] = {
        "message": lambda: f"m{at}",
        "author": lambda: who,
        "all": lambda: None,
    }
    retraction = Retraction("test", scope, target[scope](), float(at))
    for index, (n, name, outcome) in enumerate(history):
        if index == len(history) // 2:
            memory.retract(retraction)
        memory.remember(turn(said(f"I like {WORDS[n]}{name}", n, name), f"So {WORDS[n]}{name}.", outcome))
    memory.retract(retraction)
    left = traces(memory)
    for n, name, _ in history:
        gone = {"message": n == at, "author": name == who and n <= at, "all": n <= at}[scope]
        assert not gone or f"{WORDS[n]}{name}" not in left
