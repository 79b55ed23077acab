"""The books of a replay: every message sent has one fate, and the figures follow from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vtuber_brain.chat.frames import (
    AckFrame,
    DroppedFrame,
    ErrorFrame,
    InReplyTo,
    ReplyFrame,
    UtteranceFrame,
    VerdictFrame,
)
from vtuber_brain.chat.ledger import Ledger, percentile, table


def verdict(id_, action="allow", reasons=()):
    return VerdictFrame(
        id=id_, source="websocket", action=action, reasons=list(reasons), mood=None, scores={}, toxicity=None
    )


def dropped(id_, reason="too_old"):
    return DroppedFrame(id=id_, source="websocket", reason=reason)


def utterance(id_, seq=0):
    origin = InReplyTo(source="websocket", message_id=id_, author="a", text="t") if id_ else None
    return UtteranceFrame(
        reply_id="r", seq=seq, text="x", cue=None, mood=None, lang="en", final=False, in_reply_to=origin, created_at=0.0
    )


def reply(id_, outcome="spoken"):
    return ReplyFrame(
        reply_id="r", outcome=outcome, reason=None, text="x", in_reply_to=id_, source="websocket", timings={}
    )


def ack(id_):
    return AckFrame(of="message", id=id_)


def test_each_fate_is_counted_where_it_belongs():
    ledger = Ledger()
    for id_ in "abcdefg":
        ledger.sent(id_, 10.0)
    for id_ in "abcdef":
        assert ledger.heard(ack(id_), 10.1)
    assert ledger.heard(verdict("a"), 10.2) is False, "an allowed message is still on its way"
    assert ledger.heard(utterance("a"), 10.5)
    assert ledger.heard(utterance("a", 1), 11.5)
    assert ledger.heard(reply("a"), 12.0)
    assert ledger.heard(verdict("b", "deny", ["toxic", "caps"]), 10.3)
    assert ledger.heard(dropped("c"), 10.3)
    assert ledger.heard(dropped("d", "author_rate"), 10.3)
    assert ledger.heard(reply("e", "refused"), 13.0)
    assert ledger.heard(ErrorFrame(code="rate_limited", detail="", of="message", id="g"), 10.2)
    summary = ledger.summary()
    assert (summary.received, summary.acked, summary.answered, summary.unsettled) == (7, 6, 1, 1)
    assert summary.outcomes == {"spoken": 1, "refused": 1}
    assert summary.dropped == {"too_old": 1, "author_rate": 1}
    assert summary.denied == {"toxic": 1}
    assert summary.errors == {"rate_limited": 1}
    assert (summary.latency_p50_s, summary.latency_p95_s) == (0.5, 0.5)


def test_an_id_sent_twice_has_two_fates():
    ledger = Ledger()
    ledger.sent("a", 0.0)
    ledger.sent("a", 1.0)
    ledger.heard(dropped("a", "duplicate"), 1.1)
    assert ledger.num_open == 1
    ledger.heard(utterance("a"), 2.0)
    ledger.heard(reply("a"), 3.0)
    summary = ledger.summary()
    assert (summary.received, summary.unsettled) == (2, 0)
    assert (summary.outcomes, summary.dropped) == ({"spoken": 1}, {"duplicate": 1})
    assert summary.latency_p50_s == 2.0


def test_a_fate_counts_once_only():
    ledger = Ledger()
    ledger.sent("a", 0.0)
    assert ledger.heard(dropped("a"), 0.1)
    assert ledger.heard(reply("a", "retracted"), 0.2) is False
    assert ledger.summary().outcomes == {}


def test_what_is_about_others_is_left_aside():
    ledger = Ledger()
    ledger.sent("a", 0.0)
    for frame in (
        ack("x"),
        verdict("x", "deny"),
        dropped("x"),
        reply("x"),
        reply(None),
        utterance("x"),
        utterance(None),
    ):
        assert ledger.heard(frame, 1.0) is False
    assert ledger.heard(AckFrame(of="delete", id="a"), 1.0) is False
    assert ledger.heard(ErrorFrame(code="rate_limited", detail="", of="delete", id="a"), 1.0) is False
    assert (ledger.num_open, ledger.summary().acked) == (1, 0)


fates = st.sampled_from([dropped, reply, lambda id_: verdict(id_, "deny"), verdict, ack, utterance])


@given(st.lists(st.sampled_from("abc")), st.lists(st.tuples(fates, st.sampled_from("abcd"))))
def test_the_books_always_balance(sent, heard):
    ledger = Ledger()
    for id_ in sent:
        ledger.sent(id_, 0.0)
    for make, id_ in heard:
        ledger.heard(make(id_), 1.0)
    summary = ledger.summary()
    fates = (summary.outcomes, summary.dropped, summary.denied, summary.errors)
    assert summary.received == len(sent) == sum(sum(counts.values()) for counts in fates) + summary.unsettled
    assert summary.unsettled >= 0


def test_what_is_settled_is_forgotten_however_long_a_replay_lasts():
    ledger = Ledger()
    for id_, fate in (("a", reply("a")), ("b", dropped("b")), ("c", verdict("c", "deny"))):
        ledger.sent(id_, 0.0)
        ledger.heard(fate, 1.0)
        assert id_ in ledger._sent, "its acknowledgement is still under way"
        ledger.heard(ack(id_), 1.0)
    ledger.sent("d", 0.0)
    ledger.heard(ErrorFrame(code="too_long", detail="", of="message", id="d"), 1.0)
    assert ledger._sent == {}
    assert (ledger.summary().received, ledger.summary().acked, ledger.num_open) == (4, 3, 0)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3.0], 0.95, 3.0), ([2.0, 1.0], 0.5, 1.0), ([float(n) for n in range(1, 101)], 0.95, 95.0)],
)
def test_percentile(values, share, expected):
    assert percentile(values, share) == expected


def test_the_table_for_people():
    ledger = Ledger()
    for id_ in "abc":
        ledger.sent(id_, 0.0)
    ledger.heard(utterance("a"), 0.25)
    ledger.heard(reply("a"), 1.0)
    ledger.heard(verdict("b", "deny", ["toxic"]), 1.0)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table(ledger.summary("the daemon closed the connection (1001)")))
    lines = [" ".join(line.split()) for line in captured.get().splitlines()]
    assert "received 3" in lines
    assert "answered 1 spoken 1" in lines
    assert "denied 1 toxic 1" in lines
    assert "unsettled 1 no fate heard of" in lines
    assert "first words p50 0.25 s" in lines
    assert "cut short the daemon closed the connection (1001)" in lines
