"""Whose word counts among several pages, and what happens to a sentence under way when that changes."""

from vtuber_brain.voice.audience import Audience, Listener


def audience(*sounds):
    """An audience of pages that are ready, with sound or without; None: not ready yet."""
    one, pages = Audience(), [Listener(sound) for sound in sounds]
    for page in pages:
        one.join(page)
    one.choose()
    return one, pages


def test_the_first_page_that_sounds_leads_and_a_silent_one_only_where_no_other_is():
    one, (unready, silent, first, second) = audience(None, False, True, True)
    assert one.leader is first
    one.leave(first)
    assert one.choose()
    assert one.leader is second
    one.leave(second)
    one.choose()
    assert one.leader is silent
    one.leave(silent)
    assert one.choose()
    assert one.leader is None
    assert one.ready() == []
    assert len(one) == len([unready])


def test_who_leads_goes_on_leading_when_an_earlier_page_begins_to_sound():
    one, (early, leading) = audience(None, True)
    early.sounds = True
    assert not one.choose()
    assert one.leader is leading


def test_a_silent_page_gives_way_to_one_that_sounds():
    one, (silent, late) = audience(False, None)
    assert one.leader is silent
    late.sounds = True
    assert one.choose()
    assert one.leader is late


def test_only_the_leader_is_believed_and_nobody_about_what_they_were_not_given():
    one, (leading, other) = audience(True, True)
    one.give(("r1", 0))
    assert one.counts(leading, ("r1", 0), "started")
    assert not one.counts(other, ("r1", 0), "started")
    assert not one.counts(leading, ("r1", 1), "started")
    assert other.given == {("r1", 0): "started"}


def test_a_page_remembers_only_so_much():
    one, (page,) = audience(True)
    for seq in range(100):
        one.give(("r1", seq))
    assert len(page.given) == 32
    assert not one.counts(page, ("r1", 0), "finished")
