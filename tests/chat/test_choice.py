"""Which message is the best of the moment: each weight does what its name says, the alike are one, waves are seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.chat.choice import MAX_VIEWERS, Choice, Viewers, words_of
from vtuber_brain.chat.inbox import Inbox
from vtuber_brain.chat.waves import likeness
from vtuber_brain.messages import Author, ChatMessage, Drop, ReplyTo, Retraction
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import ChatSettings, ChoiceSettings

NO_WEIGHTS = {
    name: 0.0
    for name, field in ChoiceSettings.model_fields.items()
    if (field.description or "").startswith("weight of")
}


def message(text, author="kopi", at_s=100.0, roles=(), number=None, **fields):
    who = Author(author, author.title(), roles)
    return ChatMessage("websocket", str(number or f"{author} {text} {at_s}"), who, text, at_s, at_s, **fields)


def choice(**settings):
    return Choice(ChoiceSettings(**settings), lambda: ("mori", "Mori"))


def better(chosen, first, second, now_s=100.0):
    """Whether `first` scores above `second`."""
    one, other = chosen.enter(first), chosen.enter(second)
    return chosen.score(one, now_s) > chosen.score(other, now_s)


FROM_HER = ReplyTo("7", Author("mori", "Mori"), "I found a button.", ours=True)
FROM_ANOTHER = ReplyTo("8", Author("beni", "Beni"), "I found a button.")


@pytest.mark.parametrize(
    ("weight", "first", "second"),
    [
        ("question", message("is there tea?", "a"), message("there is tea", "b")),
        ("question", message("gimana kabarnya", "a"), message("kabarnya bagus", "b")),
        ("mention", message("hello MORI!", "a"), message("hello memori", "b")),
        ("reply", message("nice", "a", reply_to=FROM_HER), message("nice", "b", reply_to=FROM_ANOTHER)),
        ("subscriber", message("hi", "a", roles=("subscriber",)), message("hi", "b", roles=("vip",))),
        ("moderator", message("hi", "a", roles=("moderator",)), message("hi", "b", roles=("subscriber",))),
        ("moderator", message("hi", "a", roles=("broadcaster",)), message("hi", "b")),
        ("length", message("tell me of the sea", "a"), message("lol", "b")),
        ("length", message("tell me of the sea", "a"), message(" ".join(map(str, range(200))), "b")),
        ("age", message("now", "a", at_s=99.0), message("then", "b", at_s=92.0)),
    ],
)
def test_a_weight_does_what_its_name_says_and_nothing_without_it(weight, first, second):
    assert better(choice(**{**NO_WEIGHTS, weight: 1.0}), first, second)
    assert not better(choice(**NO_WEIGHTS), first, second)


def test_somebody_new_counts_once_and_somebody_back_after_half_an_hour_again():
    chosen = choice(**{**NO_WEIGHTS, "new_viewer": 1.0, "returning_viewer": 0.5})
    times_s = [0.0, 10.0, 20.0, 20.0 + 1801.0]
    scores = [chosen.score(chosen.enter(message("hi", at_s=at_s)), at_s) for at_s in times_s]
    assert scores == [1.0, 0.0, 0.0, 0.5]


def test_what_was_said_and_answered_lately_is_no_news():
    chosen = choice(**{**NO_WEIGHTS, "novelty": 1.0})
    asked = chosen.enter(message("what is your favourite button", "a"))
    other = chosen.enter(message("do you like rain", "b"))
    assert chosen.score(asked, 100.0) == chosen.score(other, 100.0) == 1.0
    chosen.note("My favourite button is what you sewed.")
    assert chosen.score(asked, 100.0) < chosen.score(other, 100.0)
    chosen.pick([other], 100.0)
    assert chosen.score(other, 100.0) == 0.0


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("what game is this", "What GAME is this???", True),
        ("hellooooo", "helo", False),
        ("looool", "lol", True),
        ("what game is this", "what song is this", False),
        ("😀😀", "", False),
    ],
)
def test_words_are_compared_without_case_marks_and_stretching(one, other, alike):
    assert (likeness(words_of(one), words_of(other)) >= 0.8) == alike


@given(st.text(max_size=300))
def test_any_text_has_words_and_a_score(text):
    chosen = choice()
    assert likeness(words_of(text), words_of(text)) in (0.0, 1.0)
    assert chosen.score(chosen.enter(message(text)), 100.0) >= 0


class TestStrategies:
    MESSAGES = (message("hm", "a", 90), message("what is this, mori?", "b", 91), message("hm hm", "a", 95))

    def picked(self, rounds=1, **settings):
        chosen = choice(**settings)
        waiting = [chosen.enter(one) for one in self.MESSAGES]
        return [chosen.pick(waiting, 96.0).message.author.id for _ in range(rounds)]

    def test_best_takes_the_highest_score_and_the_newer_of_equals(self):
        assert self.picked() == ["b"]
        chosen = choice(**NO_WEIGHTS)
        waiting = [chosen.enter(one) for one in self.MESSAGES]
        assert chosen.pick(waiting, 96.0).message.id == waiting[2].message.id

    def test_newest_looks_at_nothing_else(self):
        assert self.picked(strategy="newest") == ["a"]

    def test_round_robin_takes_whom_she_answered_least(self):
        assert self.picked(4, strategy="round_robin") == ["a", "b", "a", "b"]

    def test_weighted_draws_by_score_and_the_same_for_the_same_seed(self):
        drawn = self.picked(200, strategy="weighted", seed=4)
        assert drawn == self.picked(200, strategy="weighted", seed=4)
        assert 200 > drawn.count("b") > drawn.count("a") > 10


def test_of_very_many_viewers_the_one_silent_longest_is_forgotten():
    viewers = Viewers()
    for number in range(MAX_VIEWERS + 1):
        viewers.hear(message("hi", f"viewer-{number}"))
    assert viewers.hear(message("hi", "viewer-1")) == 0.0
    assert viewers.hear(message("hi", "viewer-0")) is None


class Desk:
    """The inbox with its real choice, a clock in the hand and a list of what it dropped."""

    def __init__(self, **settings):
        self.now_s, self.drops = 100.0, []
        self.inbox = Inbox(
            ChatSettings(author_burst=1000, author_per_s=1000),
            choice(**settings),
            Metrics(),
            on_drop=lambda one, reason: self.drops.append((one.author.id, reason)),
            clock=lambda: self.now_s,
        )

    def hear(self, text, author, *, approved=False, **fields):
        one = message(text, author, self.now_s, **fields)
        if self.inbox.admit(one) is None:
            self.inbox.put(one, approved=approved)

    def take(self):
        return self.inbox._next()


def test_the_alike_are_answered_together_and_counted_by_viewer():
    desk = Desk()
    for author, text in (("a", "what game is this"), ("b", "What game is this?"), ("a", "WHAT GAME IS THIS")):
        desk.hear(text, author)
    desk.hear("do you like rain", "c")
    taken = desk.take()
    assert taken.num_asking == 2
    assert [reason for _, reason in desk.drops] == [Drop.FOLDED] * 2
    assert desk.take().num_asking == 1


def test_who_asks_the_same_while_it_is_being_answered_is_folded_in_but_not_who_greets():
    desk = Desk()
    for author in ("a", "b"):
        desk.hear("what game is this", author)
        desk.hear("hello mori", author + "2")
        desk.take()
        desk.take()
    assert desk.drops == [("b", Drop.FOLDED)]
    desk.now_s += 7
    desk.hear("what game is this", "c")
    assert desk.take().author.id == "c"


def test_a_wave_is_answered_once():
    desk = Desk(wave_viewers=4)
    for number in range(50):
        desk.hear("BUTTON RAID BUTTON RAID BUTTON", f"raider-{number}")
    desk.hear("do you like rain", "c")
    taken = [desk.take() for _ in range(2)]
    assert desk.take() is None
    assert sorted(len(one.text) for one in taken) == [16, 30]
    reasons = [reason for _, reason in desk.drops]
    assert (reasons.count(Drop.WAVE), reasons.count(Drop.FOLDED)) == (47, 2)


def test_what_the_operator_approves_is_neither_folded_nor_a_wave():
    desk = Desk(wave_viewers=2)
    for author in ("a", "b"):
        desk.hear("what game is this", author, approved=True)
        assert desk.take().author.id == author
    assert desk.drops == []


def test_the_same_words_from_few_viewers_or_over_a_long_time_are_no_wave():
    desk = Desk(wave_viewers=4, fold_likeness=2)
    for number in range(20):
        desk.hear("good morning button", f"viewer-{number % 3}")
    for number in range(20):
        desk.now_s += 10
        desk.hear("good morning button", f"viewer-{number}")
    assert Drop.WAVE not in [reason for _, reason in desk.drops]


def test_a_large_event_goes_before_small_ones_and_equals_in_their_order():
    desk = Desk()
    for author, kind, amount in (
        ("small", "cheer", 5),
        ("sub", "sub", 0),
        ("raid", "raid", 200),
        ("redeem", "redeem", 1),
        ("bits", "cheer", 5000),
    ):
        desk.hear("", author, kind=kind, amount=float(amount))
    assert [desk.take().author.id for _ in range(5)] == ["raid", "bits", "sub", "small", "redeem"]


def test_a_gift_bomb_is_one_event_with_all_it_gave():
    desk = Desk()
    for number in range(20):
        desk.hear("", "generous", kind="gift", number=f"gift-{number}")
    desk.hear("", "other", kind="gift")
    desk.now_s += 6
    desk.hear("", "generous", kind="gift", number="later")
    taken = [desk.take() for _ in range(3)]
    assert [(one.author.id, one.amount) for one in taken] == [("generous", 20.0), ("other", 0.0), ("generous", 0.0)]
    assert desk.drops == [("generous", Drop.COMBINED)] * 19


def test_what_is_taken_back_leaves_the_fold_too():
    desk = Desk()
    desk.hear("what game is this", "a", number="1")
    desk.hear("what game is this", "b", number="2")
    desk.inbox.retract(Retraction("websocket", "message", "1", 100.0))
    assert (desk.take().id, desk.drops) == ("2", [("a", Drop.RETRACTED)])
