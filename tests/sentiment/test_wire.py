"""The line to the classifier's child carries every message there and back, and nothing else."""

import pytest

from vtuber_brain.errors import WireError
from vtuber_brain.messages import Mood
from vtuber_brain.runtime.line import Deframer, NotReady, Ping, Pong, Ready, Stop
from vtuber_brain.sentiment.wire import Classify, Configure, Failed, Moods, protocol

MESSAGES = [
    Configure("models/x", None, {"LABEL_0": "negative"}, 1, 96, 32),
    Configure("models/x", "loras/y", {}, 2, 64, 8),
    Classify(7, ["halo 😂", "", "two\nlines"]),
    Moods(7, [Mood("neutral", {"negative": 0.1, "neutral": 0.8, "positive": 0.1}, 0.02)]),
    Moods(8, [Mood("positive", {"negative": 0.0, "neutral": 0.0, "positive": 1.0})]),
    Failed(9, "internal", "no"),
    Ready({"model": "x", "has_toxicity": True}),
    NotReady("no such model"),
    Ping(1),
    Pong(1),
    Stop(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.type)
def test_every_message_comes_back_as_it_was(message):
    line = protocol()
    (body,) = Deframer().feed(line.encode(message))
    assert line.decode(body) == message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"type":"generate","id":1}',
        b'{"type":"classify","id":"x","texts":[]}',
        b'{"type":"classify","id":1,"texts":[3]}',
        b'{"type":"moods","id":1,"moods":[{"sentiment":"angry","scores":{}}]}',
        b'{"type":"failed","id":1,"code":"bored","detail":""}',
    ],
)
def test_anything_else_is_refused(body):
    with pytest.raises(WireError):
        protocol().decode(body)
