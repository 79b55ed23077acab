"""Frames and messages over pure bytes; a child's end over a real socketpair in a real process."""

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Discriminator
from pydantic_core import to_json

from vtuber_brain.errors import WireError
from vtuber_brain.runtime import line
from vtuber_brain.runtime.line import Deframer, NotReady, Ping, Pong, Protocol, Ready, Stop

DEADLINE_S = 30


@dataclass(frozen=True, slots=True)
class Say:
    """A message such as a room adds to the line."""

    text: str
    parts: tuple[int, ...] = ()
    share: float = 0.0
    type: Literal["say"] = "say"


Message = Annotated[Ready | NotReady | Ping | Pong | Stop | Say, Discriminator("type")]
PROTOCOL: Protocol[Message] = Protocol(Message)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
messages = st.one_of(
    st.builds(Ready, facts=st.dictionaries(st.text(), json_values, max_size=4)),
    st.builds(NotReady, detail=st.text()),
    st.builds(Ping, n=st.integers(0, 2**53)),
    st.builds(Pong, n=st.integers(0, 2**53)),
    st.just(Stop()),
    st.builds(
        Say,
        text=st.text(),
        parts=st.lists(st.integers(0, 2**31)).map(tuple),
        share=st.floats(allow_nan=False, allow_infinity=False),
    ),
)


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return (data[start:end] for start, end in itertools.pairwise(edges))


class TestFrames:
    @given(messages)
    def test_a_message_comes_back_as_it_was(self, message):
        (body,) = Deframer().feed(PROTOCOL.encode(message))
        assert PROTOCOL.decode(body) == message

    @given(st.lists(messages, max_size=6), st.lists(st.integers(0, 2**20)))
    def test_however_the_stream_is_torn_the_same_messages_come_out_in_order(self, sent, places):
        deframer = Deframer()
        stream = b"".join(PROTOCOL.encode(message) for message in sent)
        received = [PROTOCOL.decode(body) for data in cut(stream, places) for body in deframer.feed(data)]
        assert received == sent

    def test_byte_by_byte_a_body_comes_with_its_last_byte_and_not_before(self):
        frame = PROTOCOL.encode(Say("né 😀"))
        deframer = Deframer()
        assert [list(deframer.feed(frame[i : i + 1])) for i in range(len(frame) - 1)] == [[]] * (len(frame) - 1)
        assert [PROTOCOL.decode(body) for body in deframer.feed(frame[-1:])] == [Say("né 😀")]

    def test_a_frame_is_a_big_endian_length_and_json(self):
        assert PROTOCOL.encode(Stop()) == b"\x00\x00\x00\x0f" + b'{"type":"stop"}'

    def test_an_empty_body_is_a_frame_and_no_message(self):
        assert list(Deframer().feed(b"\0\0\0\0")) == [b""]
        with pytest.raises(WireError):
            PROTOCOL.decode(b"")

    def test_a_length_no_honest_peer_sends_ends_the_line_before_it_fills_memory(self):
        with pytest.raises(WireError, match=f"a frame of 4294967295 bytes, over the limit of {line.MAX_FRAME_BYTES}"):
            list(Deframer().feed(b"\xff\xff\xff\xff"))

    def test_bodies_before_a_bad_length_still_come_out(self):
        bodies = Deframer().feed(PROTOCOL.encode(Stop()) + b"GET / HTTP/1.1")
        assert PROTOCOL.decode(next(bodies)) == Stop()
        with pytest.raises(WireError):
            next(bodies)

    def test_the_longest_frame_passes_and_one_byte_more_is_refused_by_the_sender(self):
        overhead = len(PROTOCOL.encode(Say(""))) - 4
        longest = Say("x" * (line.MAX_FRAME_BYTES - overhead))
        (body,) = Deframer().feed(PROTOCOL.encode(longest))
        assert PROTOCOL.decode(body) == longest
        with pytest.raises(WireError, match="over the limit"):
            PROTOCOL.encode(Say("x" * (line.MAX_FRAME_BYTES - overhead + 1)))


class TestProtocol:
    @given(st.binary())
    def test_garbage_is_a_wire_error_and_nothing_else(self, body):
        with pytest.raises(WireError):
            PROTOCOL.decode(body)

    @given(json_values)
    def test_json_that_is_no_message_is_a_wire_error(self, value):
        with pytest.raises(WireError):
            PROTOCOL.decode(to_json(value))

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b'{"n":1}',
            b'{"type":"nope"}',
            b'{"type":"ping"}',
            b'{"type":"ping","n":"x"}',
            b'{"type":["ping"]}',
            b'{"type":"stop"} trailing',
            b'\xff{"type":"stop"}',
            b'{"type":"say","text":"\\ud800"}',
            b"[" * 300,
        ],
    )
    def test_almost_a_message_is_a_wire_error(self, body):
        with pytest.raises(WireError, match="not a message of this line"):
            PROTOCOL.decode(body)

    def test_the_error_never_repeats_what_was_sent(self):
        with pytest.raises(WireError) as caught:
            PROTOCOL.decode(b'{"type":"say","text":"a viewer\'s words","share":"a viewer\'s words"}')
        assert "viewer" not in str(caught.value)
        assert caught.value.__suppress_context__

    def test_text_that_utf_8_cannot_carry_is_a_wire_error_of_the_sender(self):
        with pytest.raises(WireError):
            PROTOCOL.encode(Say("half a pair: \ud83d"))


CHILD = """
import os, sys
from tests.runtime.test_line import PROTOCOL, Say
from vtuber_brain.runtime.line import ChildEnd, Ping, Pong, Ready, Stop
end = ChildEnd(int(sys.argv[1]), PROTOCOL)
end.send(Ready({"nothing_yet": end.receive(0) == [], "nor_soon": end.receive(0.01) == []}))
while True:
    for message in end.receive(None):
        match message:
            case Ping(n):
                end.send(Pong(n))
            case Say("flood"):
                while True:
                    end.send(message)
            case Say(text):
                end.send(Say(text.upper()))
            case Stop():
                sys.exit(0)
"""


class Peer:
    """The daemon's end, for a test: blocking, with a deadline."""

    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(DEADLINE_S)
        command = [sys.executable, "-c", CHILD, str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self._bodies: Iterator[bytes] = iter(())
        self._deframer = Deframer()

    def send(self, *messages: object) -> None:
        self.socket.sendall(b"".join(PROTOCOL.encode(message) for message in messages))

    def receive(self) -> object:
        while True:
            for body in self._bodies:
                return PROTOCOL.decode(body)
            self._bodies = self._deframer.feed(self.socket.recv(65536))

    def ended(self) -> int:
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.socket.close()
    peer.process.kill()
    peer.process.wait()


class TestChildEnd:
    def test_it_answers_in_order_and_stops_when_asked(self, peer):
        assert peer.receive() == Ready({"nothing_yet": True, "nor_soon": True})
        peer.send(Ping(1), Say("é" * 200_000), Ping(2))
        assert [peer.receive() for _ in range(3)] == [Pong(1), Say("É" * 200_000), Pong(2)]
        peer.send(Stop())
        assert peer.ended() == 0

    def test_an_interrupt_of_the_terminal_is_not_for_it(self, peer):
        peer.receive()
        os.kill(peer.process.pid, signal.SIGINT)
        peer.send(Ping(3))
        assert peer.receive() == Pong(3)

    def test_it_ends_when_the_daemon_is_gone(self, peer):
        peer.receive()
        peer.socket.close()
        assert peer.ended() == -signal.SIGTERM

    def test_it_ends_when_the_daemon_goes_while_it_is_writing(self, peer):
        peer.receive()
        peer.send(Say("flood"))
        assert peer.receive() == Say("flood")
        peer.socket.close()
        assert peer.ended() == -signal.SIGTERM

    @pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\0\0\0\2{}", b"\0\0\0\5hello"])
    def test_it_ends_at_garbage(self, garbage, peer):
        peer.receive()
        peer.socket.sendall(garbage)
        assert peer.ended() == -signal.SIGTERM
