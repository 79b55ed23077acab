"""No regular expression that reads what viewers or the model wrote takes long, whatever it is given."""

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator, Mapping

import pytest

import vtuber_brain.sentiment
import vtuber_brain.speech
from vtuber_brain.config import Settings
from vtuber_brain.sentiment.rules import RuleSet

LENGTH = 4000
"""More than any of them is ever given: longer texts are cut before."""

LIMIT_S = 1.0
TORCH = {"vtuber_brain.sentiment.model", "vtuber_brain.sentiment.worker"}
ROOMS = (vtuber_brain.sentiment, vtuber_brain.speech)
MODULES = [
    *(
        f"vtuber_brain.{name}"
        for name in ("chat.choice", "chat.waves", "context.quote", "context.facts", "context.memory")
    ),
    *(f"{room.__name__}.{one.name}" for room in ROOMS for one in pkgutil.iter_modules(room.__path__)),
]
PIECES = [
    *(
        "a",
        "A",
        "1",
        " ",
        ".",
        "!",
        "a ",
        "a.",
        ". ",
        "a1",
        "ab",
        "a b ",
        "-",
        "_",
        "@",
        "#",
        "<",
        "<|",
        "|>",
        "(",
        "[",
        "*",
    ),
    *(
        "a@",
        "a-",
        "ａ",
        "é",
        "e\u0301",
        "\u0301",
        "你",
        "。",
        "\u200d",
        "😀",
        "😀\u200d",
        "www.",
        "http://",
        "a.b",
        " dot ",
        "&amp;",
    ),
    *(
        "ha",
        "aab",
        "no no ",
        "you ",
        "ignore all ",
        "i like ",
        "dan ",
        "f.u.",
        "f u ",
        "0",
        "12 ",
        "+62 ",
        ":) ",
        "'",
        '"',
    ),
]
WORDS = re.compile(r"[A-Za-z]{2,}")


def compiled(value: object, depth: int = 0) -> Iterator[re.Pattern]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Mapping) and depth < 3:
        yield from (found for one in value.values() for found in compiled(one, depth + 1))
    elif isinstance(value, list | tuple | frozenset | set) and depth < 3:
        yield from (found for one in value for found in compiled(one, depth + 1))


def patterns() -> dict[str, re.Pattern]:
    found = {}
    for name in MODULES:
        if name not in TORCH:
            for key, value in vars(importlib.import_module(name)).items():
                for number, pattern in enumerate(compiled(value)):
                    if isinstance(pattern.pattern, str):
                        found[f"{name.removeprefix('vtuber_brain.')}.{key}.{number}"] = pattern
    rules = RuleSet.load(Settings().sentiment)
    for key in getattr(rules.blocked, "__slots__", None) or vars(rules.blocked):
        for number, pattern in enumerate(compiled(getattr(rules.blocked, key))):
            found[f"blocked.{key}.{number}"] = pattern
    return found


PATTERNS = patterns()
ANCHORED = ("context.facts._NOT_TOLD", "sentiment.copies._EMOTE", "speech.cues._")
"""Only ever asked about one place of a text."""


def hostile(pattern: re.Pattern) -> Iterator[str]:
    """Long repetitions of what the pattern looks for, with and without an end that spoils the match."""
    own = list(dict.fromkeys(WORDS.findall(pattern.pattern)))[:12]
    pieces = [*PIECES, *own, *(f"{word} " for word in own)]
    for piece in pieces:
        whole = (piece * LENGTH)[:LENGTH]
        yield whole
        yield whole[: LENGTH // 2] + "~" + whole[: LENGTH // 2] + "~"
    for one, other in zip(own, [*own[1:], "x"], strict=False):
        yield (f"{one} {other} " * LENGTH)[:LENGTH] + "\n"
        yield f"{one} " + (" " * LENGTH) + other


def took_s(name: str, text: str) -> float:
    pattern, began_s = PATTERNS[name], time.perf_counter()
    for _ in () if name.startswith(ANCHORED) else pattern.finditer(text):
        pass
    pattern.match(text)
    pattern.fullmatch(text)
    return time.perf_counter() - began_s


@pytest.mark.parametrize("name", PATTERNS)
def test_it_is_quick_about_hostile_text(name):
    for text in hostile(PATTERNS[name]):
        # The second try tells a slow expression from a busy machine.
        assert took_s(name, text) < LIMIT_S or took_s(name, text) < LIMIT_S, text[:40]


def test_they_are_found():
    """The list above is not empty by some change of names."""
    rooms = {name.split(".")[0] for name in PATTERNS}
    assert {"sentiment", "speech", "chat", "context", "blocked"} <= rooms
    assert len(PATTERNS) > 40
