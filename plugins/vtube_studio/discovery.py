"""Where VTube Studio is, by what it broadcasts over UDP every two seconds; of this machine, unless told otherwise."""

import asyncio
import socket
from dataclasses import dataclass

from .protocol import BROADCAST, NotTheProtocol, parse

WAIT_S = 2.5
"""A broadcast comes every 2 s."""


@dataclass(frozen=True, slots=True)
class Found:
    """A VTube Studio: its address, and whether its API is turned on."""

    url: str
    is_active: bool


async def discover(port: int, *, whole_network: bool, wait_s: float = WAIT_S) -> Found | None:
    """The first that is heard within `wait_s`, one with its API on before one without; None if there is none."""
    loop = asyncio.get_running_loop()
    heard = _Heard(whole_network)
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: heard, local_addr=("0.0.0.0", port), reuse_port=True, allow_broadcast=True
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(wait_s):
            await heard.active.wait()
    except TimeoutError:
        pass
    finally:
        transport.close()
    return heard.found


class _Heard(asyncio.DatagramProtocol):
    def __init__(self, whole_network: bool) -> None:
        self._whole_network = whole_network
        self.active = asyncio.Event()
        self.found: Found | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        found = found_in(data, addr[0])
        if found is None or not (self._whole_network or is_ours(addr[0])):
            return
        if self.found is None or not self.found.is_active:
            self.found = found
        if found.is_active:
            self.active.set()


def found_in(data: bytes, host: str) -> Found | None:
    """What a datagram from `host` tells; None where it is no such broadcast."""
    try:
        message = parse(data)
    except NotTheProtocol:
        return None
    match message.data:
        case {"active": bool(is_active), "port": int(port)} if message.kind == BROADCAST and 0 < port < 65536:
            return Found(f"ws://{host}:{port}", is_active)
    return None


def is_ours(host: str) -> bool:
    """Whether an address is one of this machine: nobody can bind another's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((host, 0))
        except OSError:
            return False
    return True
