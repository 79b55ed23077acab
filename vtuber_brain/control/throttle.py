"""How often somebody may knock: wrong tokens are answered ever slower, and nobody asks more than their share. Pure."""

import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass, field

FREE = 5
"""Wrong tokens an address may give before it is slowed."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
MAX_WAIT_S = 10.0
FORGIVEN_S = 60.0
"""After so long one wrong token is forgiven."""
MAX_ADDRESSES = 4096
MAX_WRONG = 16


@dataclass(slots=True)
class _Stranger:
    num_wrong: float
    since_s: float
    free_s: float = 0.0
    wrong: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_WRONG))


class Turnstile:
    """One per server. From an address that gave wrong tokens attempts pass one at a time, the pause between doubling.

    A right token waits with them: who could tell it by being quicker could guess. The same wrong token again is no
    guess; it is refused at once and slows nobody. At most MAX_ADDRESSES are remembered, the latest.
    """

    def __init__(self) -> None:
        self._strangers: OrderedDict[str, _Stranger] = OrderedDict()

    def __len__(self) -> int:
        return len(self._strangers)

    def is_known_wrong(self, address: str, hashed: bytes) -> bool:
        """Whether this token was wrong a moment ago."""
        stranger = self._strangers.get(block(address))
        return stranger is not None and hashed in stranger.wrong

    def wait_s(self, address: str, now_s: float) -> float | None:
        """How long an attempt is to wait before its token is looked at; None: too many wait already."""
        stranger = self._strangers.get(block(address))
        if stranger is None or (excess := self._remaining(stranger, now_s) - FREE) < 0:
            return 0.0
        pause_s = min(FIRST_PAUSE_S * 2 ** min(excess, 30), LONGEST_PAUSE_S)
        begins_s = max(now_s, stranger.free_s)
        if begins_s + pause_s - now_s > MAX_WAIT_S:
            return None
        stranger.num_wrong, stranger.since_s = excess + FREE + 1, now_s  # as long as it is not known to be right
        stranger.free_s = begins_s + pause_s
        return stranger.free_s - now_s

    def passed(self, address: str, *, has_waited: bool) -> None:
        """A token was right."""
        if has_waited and (stranger := self._strangers.get(block(address))) is not None:
            stranger.num_wrong = max(0.0, stranger.num_wrong - 1)

    def failed(self, address: str, hashed: bytes, now_s: float, *, has_waited: bool) -> None:
        """A token was wrong that was not known to be."""
        key = block(address)
        stranger = self._strangers.pop(key, None) or _Stranger(0.0, now_s)
        stranger.num_wrong = self._remaining(stranger, now_s) + (not has_waited)
        stranger.since_s = now_s
        stranger.wrong.append(hashed)
        self._strangers[key] = stranger
        if len(self._strangers) > MAX_ADDRESSES:
            self._strangers.popitem(last=False)

    @staticmethod
    def _remaining(stranger: _Stranger, now_s: float) -> float:
        return max(0.0, stranger.num_wrong - (now_s - stranger.since_s) / FORGIVEN_S)


def block(address: str) -> str:
    """Who counts as one: an IPv4 address, and of IPv6 the network of 64 bits that one household has."""
    try:
        found = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
