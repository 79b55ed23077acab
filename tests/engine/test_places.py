"""The bank's books: names, places, and replies that end on what they began with."""

import pytest

from vtuber_brain.engine.places import Places
from vtuber_brain.errors import LoraRejected


def install(places, name, content_hash):
    """As the core does it: claim a place, copy the weights in, and only then lead the name there."""
    found = places.claim(content_hash)
    if found is not None:
        places.lead(name, found[0], content_hash)
    return found


def test_a_name_in_use_gets_a_new_place_while_a_reply_ends_on_the_old():
    places = Places(1)
    old, copied = install(places, "mori", "one")
    running = places.take("mori")
    new, _ = install(places, "mori", "two")
    assert copied
    assert running is old is not new
    assert places.take("mori") is new
    places.check_integrity([old.index, new.index])


def test_while_every_place_has_replies_a_new_lora_waits_and_then_gets_the_first_free_one():
    places = Places(1)
    install(places, "mori", "one")
    first = places.take("mori")
    install(places, "mori", "two")
    places.take("mori")
    assert install(places, "mori", "three") is None
    places.give_back(first)
    place, _ = install(places, "mori", "three")
    assert place is first


def test_the_same_weights_are_copied_once_whatever_their_names():
    places = Places(2)
    first, _ = install(places, "mori@1", "same")
    assert install(places, "mori@2", "same") == (first, False)
    places.drop("mori@1")
    assert places.names == {"mori@2": "same"}


def test_dropped_weights_that_come_back_need_no_copy():
    places = Places(2)
    install(places, "mori", "one")
    places.drop("mori")
    assert install(places, "mori", "one")[1] is False


def test_what_was_not_copied_to_the_end_is_led_to_by_no_name_and_copied_anew():
    places = Places(1)
    old, _ = install(places, "mori", "one")
    half, _ = places.claim("two")
    assert places.take("mori") is old
    assert places.names == {"mori": "one"}
    assert places.claim("two") == (half, True)


def test_one_lora_too_many_is_rejected_with_what_is_there():
    places = Places(2)
    install(places, "a", "1")
    install(places, "b", "2")
    places.check_room("a")
    with pytest.raises(LoraRejected, match=r"all 2 loras are taken \(a, b\); drop one"):
        places.check_room("c")


def test_without_room_for_loras_the_reason_names_the_setting():
    with pytest.raises(LoraRejected, match=r"engine\.max_loras"):
        Places(0).check_room("a")


def test_an_unknown_name_has_no_place():
    assert Places(1).take("nobody") is None
