"""Inputs for a parser: good ones spoilt in the ways in which files and wires are spoilt, ever the same by number."""

import contextlib
import json
import random

SPLICES = [
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\r\n",
        b"\x85",
        b"\xe2\x80\xa8",
        b'"',
        b"\\",
        b"\\u0000",
    ),
    *(b"\\ud800", b"[", b"]", b"{", b"}", b",", b":", b"=", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0"),
    *(b"9" * 30, b"9" * 5000, b"1979-05-27T07:32:00", b"'''", b'"""', b"[[", b"<|im_start|>", b"[smile]", b"*", b"("),
    *(b"[" * 300, b"[" * 100_000, b'{"a":' * 20_000, b"a" * 5000, b" " * 5000, b"data: ", b"\n\n", b"id", b"type"),
    *(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x01", "Ａ\u0301\u0301\u200d\U0001f3fb".encode()),
]

WRONG = [
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**64, 10**400, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", " ", "x", "\x00", "\ud800", "x" * 5000, "../../x", "1", "NaN", "(", "[[a]", "(a+)+$", [], [1], [None], ["x"]),
    *({}, {"": ""}, {"x": None}, {"q_proj": "x"}, {"q_proj": None}, {"(": 1}, [[[[[]]]]], [{"role": "user"}]),
]


def mutated(seeds: list[bytes], number: int) -> bytes:
    """The spoilt input `number`; one in eight is nothing but noise."""
    rng = random.Random(number)
    if rng.random() < 1 / 8:
        return rng.randbytes(rng.randrange(200))
    seed = rng.choice(seeds)
    if seed[:1] == b"{" and rng.random() < 0.5:
        with contextlib.suppress(ValueError):
            return json.dumps(_wrong_somewhere(json.loads(seed), rng)).encode()
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        _spoil(data, seeds, rng)
    return bytes(data)


def _wrong_somewhere(value: object, rng: random.Random) -> object:
    """The same JSON but for one value, which is of another kind, or out of all reason."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        match rng.randrange(8):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return {**value, rng.choice(("x", "", "type", key.upper())): value[key]}
        return {**value, key: _wrong_somewhere(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], _wrong_somewhere(value[place], rng), *value[place + 1 :]]
    return rng.choice(WRONG)


def _spoil(data: bytearray, seeds: list[bytes], rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    end = min(len(data), place + rng.choice((1, 1, 2, 8, 64)))
    match rng.randrange(7):
        case 0:
            data[place:end] = b""
        case 1:
            data[place:place] = rng.choice(SPLICES)
        case 2:
            data[place:end] = rng.choice(SPLICES)
        case 3:
            data[place:end] = rng.randbytes(end - place)
        case 4:
            data[place:place] = bytes(data[place:end]) * rng.choice((1, 2, 50))
        case 5:
            del data[place:]
        case 6:
            other = rng.choice(seeds)
            data[place:] = other[rng.randrange(len(other) + 1) :]
