"""A child process for the tests of supervision: says back what it is told, or misbehaves as its first message asks."""

import argparse
import os
import signal
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator

from vtuber_brain.runtime.line import ChildEnd, NotReady, Ping, Pong, Protocol, Ready, Stop


@dataclass(frozen=True, slots=True)
class Say:
    """Both ways: a text; to the child also an order to misbehave."""

    text: str
    type: Literal["say"] = "say"


Message = Annotated[Ready | NotReady | Ping | Pong | Stop | Say, Discriminator("type")]
PROTOCOL: Protocol[Message] = Protocol(Message)


def main() -> None:
    """Echo until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    fd = parser.parse_args().fd
    end: ChildEnd[Message] = ChildEnd(fd, PROTOCOL)
    (first,) = end.receive(None)
    if first.text == "refuse":
        end.send(NotReady("it never will"))
        end.receive(None)
    if first.text != "silent":
        end.send(Ready({"pid": os.getpid()}))
    while True:
        for message in end.receive(None):
            match message:
                case Ping(n=n):
                    end.send(Pong(n))
                case Stop():
                    return
                case Say(text="garbage"):
                    os.write(fd, b"\x00\x00\x00\x03{]!")
                case Say(text="shout"):
                    sys.stdout.write("a" * 300_000)
                    sys.stdout.flush()
                    end.send(message)
                case Say(text="hang"):
                    signal.pause()
                case Say(text="stubborn"):
                    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
                    signal.pause()
                case Say():
                    end.send(message)


if __name__ == "__main__":
    main()
