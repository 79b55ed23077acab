"""How wrong tokens are slowed: pure, so time is a number here."""

from vtuber_brain.control.throttle import (
    FREE,
    LONGEST_PAUSE_S,
    MAX_ADDRESSES,
    MAX_WAIT_S,
    Turnstile,
    block,
)


def guess(turnstile, number, now_s, address="192.0.2.7"):
    """One attempt with a token nobody has; when it was answered, None if it was turned away."""
    wait_s = turnstile.wait_s(address, now_s)
    if wait_s is None:
        return None
    turnstile.failed(address, str(number).encode(), now_s + wait_s, has_waited=wait_s > 0)
    return now_s + wait_s


def test_the_first_few_wrong_tokens_cost_nothing():
    turnstile = Turnstile()
    assert [guess(turnstile, n, 0.0) for n in range(FREE)] == [0.0] * FREE
    assert guess(turnstile, FREE, 0.0) > 0


def test_one_after_another_a_day_of_guessing_comes_to_few_looks():
    turnstile, now_s, looks = Turnstile(), 0.0, 0
    while now_s < 86_400:
        answered_s = guess(turnstile, looks, now_s)
        if answered_s is None:
            now_s += 1
        else:
            now_s, looks = answered_s + 0.001, looks + 1
    assert looks < 86_400 / LONGEST_PAUSE_S + 50


def test_guessing_in_parallel_gains_nothing():
    turnstile = Turnstile()
    looks = 0
    for second in range(600):
        looks += sum(guess(turnstile, (second, n), float(second)) is not None for n in range(100))
    assert looks <= 600 / LONGEST_PAUSE_S + 30


def test_nobody_waits_longer_than_is_said():
    turnstile = Turnstile()
    waits = [turnstile.wait_s("192.0.2.7", 0.0) for n in range(200) if guess(turnstile, n, 0.0) is not None or True]
    assert max(wait for wait in waits if wait is not None) <= MAX_WAIT_S


def test_a_right_token_is_not_counted_and_wrong_ones_are_forgiven_in_time():
    turnstile = Turnstile()
    for n in range(FREE + 3):
        guess(turnstile, n, 0.0)
    now_s = 100.0
    first = turnstile.wait_s("192.0.2.7", now_s)
    turnstile.passed("192.0.2.7", has_waited=True)
    assert turnstile.wait_s("192.0.2.7", now_s + 50) <= first
    assert turnstile.wait_s("192.0.2.7", 3600.0) == 0.0


def test_others_are_not_slowed_and_an_ipv6_network_is_one():
    turnstile = Turnstile()
    for n in range(50):
        guess(turnstile, n, 0.0, f"2001:db8::{n:x}")
    assert turnstile.wait_s("2001:db8::ffff", 0.0) != 0.0
    assert turnstile.wait_s("2001:db8:0:1::1", 0.0) == 0.0
    assert block("::ffff:192.0.2.7") == block("192.0.2.7")


def test_a_token_known_to_be_wrong_is_no_guess():
    turnstile = Turnstile()
    guess(turnstile, "old", 0.0)
    assert turnstile.is_known_wrong("192.0.2.7", b"old")
    assert not turnstile.is_known_wrong("192.0.2.7", b"new")
    assert not turnstile.is_known_wrong("192.0.2.8", b"old")


def test_of_a_million_addresses_only_so_many_are_remembered():
    turnstile = Turnstile()
    for n in range(MAX_ADDRESSES + 500):
        guess(turnstile, 1, 0.0, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(turnstile) == MAX_ADDRESSES
