"""What a hook may hand over and what not: nothing that the rest of the daemon would stumble over gets through."""

import math
from dataclasses import replace

import pytest

from tests.support.bus import message
from vtuber_brain import plugin_api
from vtuber_brain.errors import WireError
from vtuber_brain.messages import Author, Retraction, Verdict
from vtuber_brain.plugin_api import checked_facts, checked_incoming, checked_verdict

GOOD = [
    message(),
    replace(message(), kind="raid", amount=5),
    replace(message(), author=Author("u-1", "Wren", ("moderator",))),
    Retraction("flute", "message", "m-1", 1.0),
    Retraction("flute", "all", None, 1.0),
    Retraction("flute", "author", "u-1", 1.0, 61.0),
]
WRONG = [
    "hello",
    None,
    replace(message(), text=b"hello"),
    replace(message(), id=5),
    replace(message(), source=None),
    replace(message(), author="Wren"),
    replace(message(), author=Author(7, "Wren")),
    replace(message(), author=Author("u-1", None)),
    replace(message(), author=Author("u-1", "Wren", (3,))),
    replace(message(), author=Author("u-1", "Wren", "moderator")),
    replace(message(), at="now"),
    replace(message(), received_s=None),
    replace(message(), received_s=math.nan),
    replace(message(), amount=math.inf),
    replace(message(), kind="dance"),
    Retraction("flute", "some", None, 1.0),
    Retraction("flute", "all", 3, 1.0),
    Retraction("flute", "all", None, math.nan),
    Retraction("flute", "message", None, 1.0),
    Retraction("flute", "author", "u-1", 1.0, "soon"),
    replace(message(), amount=10**400),
]


@pytest.mark.parametrize("incoming", GOOD, ids=repr)
def test_what_a_source_may_deliver(incoming):
    assert checked_incoming(incoming) is incoming


@pytest.mark.parametrize("incoming", WRONG, ids=repr)
def test_what_a_source_may_not_deliver(incoming):
    with pytest.raises(WireError, match="a source delivered"):
        checked_incoming(incoming)


def test_what_a_judge_may_say():
    verdict = Verdict("deny", ("too_loud", "x2"), "HEY")
    assert checked_verdict(verdict) is verdict


@pytest.mark.parametrize(
    "verdict",
    [
        None,
        True,
        "deny",
        Verdict("maybe", (), ""),
        Verdict("deny", ["too_loud"], ""),
        Verdict("deny", "too_loud", ""),
        Verdict("deny", (3,), ""),
        Verdict("deny", ("Wren said: hey!",), ""),
        Verdict("deny", ("x" * 65,), ""),
        Verdict("deny", ("",), ""),
        Verdict("allow", (), None),
    ],
    ids=repr,
)
def test_what_a_judge_may_not_say(verdict):
    with pytest.raises(WireError, match="a judge returned"):
        checked_verdict(verdict)


def test_what_a_recall_may_give():
    assert checked_facts(["likes tea"]) == checked_facts(("likes tea",)) == ("likes tea",)


def _kind(facts):
    return type(facts).__name__


@pytest.mark.parametrize("facts", [None, "likes tea", [1], {"likes tea"}, iter(["likes tea"]), b"likes tea"], ids=_kind)
def test_what_a_recall_may_not_give(facts):
    with pytest.raises(WireError, match="a recall returned"):
        checked_facts(facts)


def test_all_that_a_plugin_may_import_is_there_and_sorted():
    assert plugin_api.__all__ == sorted(plugin_api.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(plugin_api, name) for name in plugin_api.__all__)
