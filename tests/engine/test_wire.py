"""Every message of the engine's line survives the way there and back; everything else is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.engine import wire
from vtuber_brain.errors import WireError
from vtuber_brain.runtime.line import Deframer, NotReady, Ping, Pong, Ready, Stop

TEXT = st.text(max_size=30)
MESSAGES = st.one_of(
    st.builds(Ready, facts=st.dictionaries(TEXT, st.integers() | TEXT)),
    st.builds(NotReady, detail=TEXT),
    st.builds(Ping, n=st.integers(0, 10**9)),
    st.builds(Pong, n=st.integers(0, 10**9)),
    st.just(Stop()),
    st.builds(wire.Configure, model=TEXT),
    st.builds(
        wire.Generate,
        id=TEXT,
        prompt=TEXT,
        token_ids=st.none() | st.lists(st.integers(0, 10**6), max_size=5).map(tuple),
        stop=st.lists(TEXT, max_size=3).map(tuple),
        sampling=st.builds(wire.Sampling, temperature=st.floats(0, 5), seed=st.none() | st.integers(0, 2**63)),
    ),
    st.builds(wire.Cancel, id=TEXT),
    st.builds(wire.Delta, id=TEXT, text=TEXT, token_ids=st.lists(st.integers(0, 10**6), max_size=5).map(tuple)),
    st.builds(wire.Failed, id=TEXT, code=TEXT, detail=TEXT),
    st.builds(
        wire.Done,
        id=TEXT,
        finish_reason=st.sampled_from(["stop", "length", "stop_string"]),
        usage=st.just(wire.Usage(1, 0, 2, 0.5, 1.5, 9.25)),
    ),
)


@given(messages=st.lists(MESSAGES, max_size=6), cut=st.integers(1, 50))
def test_messages_survive_any_chopping_of_the_stream(messages, cut):
    stream = b"".join(wire.PROTOCOL.encode(message) for message in messages)
    deframer, received = Deframer(), []
    for start in range(0, len(stream), cut):
        received += [wire.PROTOCOL.decode(body) for body in deframer.feed(stream[start : start + cut])]
    assert received == messages


@pytest.mark.parametrize("body", [b"", b"{}", b'{"type":"launch"}', b'{"type":"cancel"}', b"\xff\xfe", b'"ping"'])
def test_anything_else_is_a_wire_error(body):
    with pytest.raises(WireError):
        wire.PROTOCOL.decode(body)
