"""Addresses are counted however they are written; decimal points and ordinary dots are none."""

import pytest

from vtuber_brain.sentiment.links import count_links
from vtuber_brain.sentiment.normal import clean


@pytest.mark.parametrize(
    ("text", "num_links"),
    [
        ("https://x.example", 1),
        ("HTTP://X.EXAMPLE and www.y.example", 2),
        ("go to free-skins.shop now", 1),
        ("toko.co.id", 1),
        ("discord.gg/abc", 1),
        ("mail me@y.com", 1),
        ("skins (dot) com", 1),
        ("skins titik com", 1),
        ("I like it.the end", 0),
        ("node.js is fun... really", 0),
        ("e.g. 3.14, 1.000,50 or a.m.", 0),
        ("jl. Mawar no. 5", 0),
        ("connect the dots", 0),
        ("computer.", 0),
    ],
)
def test_links(text: str, num_links: int) -> None:
    assert count_links(clean(text)) == num_links
