"""What a browser carries instead of a token: a cookie signed with it. Nothing is kept here, so it outlives a restart,
and ends when its token is changed. Pure.
"""

import hashlib
import hmac

from vtuber_brain.control.tokens import Role, Tokens, Who, fingerprint

COOKIE = "vtb_session"
LASTS_S = 7 * 86400
MAX_COOKIE_CHARS = 200


class Sessions:
    """The sessions of everybody who has a token."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def begin(self, who: Who, now: float) -> str:
        """The cookie of somebody whose token was just seen, good until LASTS_S after `now` (Unix seconds)."""
        (key,) = [key for _, key in self._tokens.known if fingerprint(key) == who.token]
        until = int(now) + LASTS_S
        return f"{who.token}.{until}.{_signed(key, until)}"

    def owner(self, address: str) -> Who:
        """The owner, of whom there always is one."""
        (key,) = [key for role, key in self._tokens.known if role is Role.OWNER]
        return Who(Role.OWNER.name.lower(), fingerprint(key), address)

    def who(self, cookie: str, address: str, now: float) -> Who | None:
        """Whose session this is; None for nobody's, or one that is over."""
        name, _, rest = cookie[:MAX_COOKIE_CHARS].partition(".")
        until, _, signature = rest.partition(".")
        if not (until.isascii() and until.isdecimal() and len(until) <= 12) or int(until) < now:
            return None
        found = None
        for role, key in self._tokens.known:
            is_signed = hmac.compare_digest(_signed(key, int(until)).encode(), signature.encode("utf-8", "replace"))
            if is_signed and fingerprint(key) == name:
                found = Who(role.name.lower(), name, address)
        return found


def _signed(key: bytes, until: int) -> str:
    return hmac.new(key, f"session until {until}".encode(), hashlib.sha256).hexdigest()
