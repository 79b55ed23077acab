"""Who may open the overlay: by the host they came to, the page they come from, and the token. Pure.

A browser on this machine can be led to any address by any page, so on loopback the name it used must be a loopback one
too, and a page from elsewhere may not open the WebSocket. Beyond loopback a token is needed.
"""

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

from vtuber_brain.exposure import is_loopback

COOKIE = "vtb_overlay"


def turned_away(
    host: str, token: str | None, headers: Mapping[str, str], query: Mapping[str, str], cookies: Mapping[str, str]
) -> str | None:
    """Why a request is refused, if it is. `host` is the address we listen on."""
    asked = _name(f"//{headers.get('Host', '')}")
    if is_loopback(host) and not is_loopback(asked):
        return "host"
    origin = headers.get("Origin")
    if origin is not None and not is_loopback(_name(origin)) and _name(origin) != asked:
        return "origin"
    given = query.get("token") or cookies.get(COOKIE, "")
    if token and not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        return "token"
    return None


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
