"""Who may open the overlay: pages of this machine, by its own names; from elsewhere only with the token."""

import pytest

from vtuber_brain.voice.doorway import turned_away

TOKEN = "a-token-nobody-guesses"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Host": "127.0.0.1:8767"}, None),
        ({"Host": "localhost:8767", "Origin": "http://127.0.0.1:8765"}, None),
        ({"Host": "[::1]:8767", "Origin": "http://[::1]:8767"}, None),
        ({"Host": "evil.example:8767"}, "host"),
        ({"Host": "127.0.0.1.evil.example"}, "host"),
        ({}, "host"),
        ({"Host": "127.0.0.1:8767", "Origin": "http://evil.example"}, "origin"),
        ({"Host": "127.0.0.1:8767", "Origin": "null"}, "origin"),
        ({"Host": "127.0.0.1:8767", "Origin": "http://[broken"}, "origin"),
    ],
)
def test_on_loopback_both_names_must_be_of_this_machine(headers, why):
    assert turned_away("127.0.0.1", None, headers, {}, {}) == why


@pytest.mark.parametrize(
    ("headers", "query", "cookies", "why"),
    [
        ({"Host": "stage.lan:8767"}, {}, {}, "token"),
        ({"Host": "stage.lan:8767"}, {"token": "wrong"}, {}, "token"),
        ({"Host": "stage.lan:8767"}, {"token": TOKEN}, {}, None),
        ({"Host": "stage.lan:8767", "Origin": "http://stage.lan:8767"}, {}, {"vtb_overlay": TOKEN}, None),
        ({"Host": "stage.lan:8767", "Origin": "http://evil.example"}, {}, {"vtb_overlay": TOKEN}, "origin"),
        ({"Host": "stage.lan:8767"}, {"token": "ä"}, {}, "token"),
    ],
)
def test_beyond_loopback_the_token_counts_and_the_page_must_be_ours(headers, query, cookies, why):
    assert turned_away("192.0.2.7", TOKEN, headers, query, cookies) == why
