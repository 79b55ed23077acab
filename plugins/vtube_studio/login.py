"""Getting into VTube Studio: a token once, by the user's click there, kept in a file of ours; with it every session."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from .link import Link, Lost
from .protocol import PLUGIN_DEVELOPER, PLUGIN_NAME

_WHO = {"pluginName": PLUGIN_NAME, "pluginDeveloper": PLUGIN_DEVELOPER}
_MAX_TOKEN_CHARS = 64


class TokenFile:
    """The token on disk, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        """The token, if one is kept. A file that others may read or write holds none."""
        try:
            if self._path.stat().st_mode & 0o077:
                return None
            return self._path.read_text(encoding="ascii").strip() or None
        except (OSError, ValueError):
            return None

    def write(self, token: str) -> None:
        """Keep a token: whole, or not at all. Raises OSError."""
        beside = self._path.with_suffix(".new")
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

    def forget(self) -> None:
        """Keep none."""
        self._path.unlink(missing_ok=True)


async def log_in(link: Link, tokens: TokenFile, *, allow_s: float, on_asking: Callable[[], None]) -> None:
    """Authenticate this connection; asks for a token if none is kept or it is no longer good.

    `on_asking` is called when the user has to click. Raises ApiError and Lost.
    """
    token = await asyncio.to_thread(tokens.read)
    if token is not None and await _is_good(link, token):
        return
    on_asking()
    told = await link.ask("AuthenticationTokenRequest", _WHO, patience_s=allow_s)
    token = told.get("authenticationToken")
    if not isinstance(token, str) or not token.isascii() or not 0 < len(token) <= _MAX_TOKEN_CHARS:
        raise Lost("it gave a token that is none")
    await asyncio.to_thread(tokens.write, token)
    if not await _is_good(link, token):
        raise Lost("it does not take the token that it gave")


async def _is_good(link: Link, token: str) -> bool:
    told = await link.ask("AuthenticationRequest", {**_WHO, "authenticationToken": token})
    return told.get("authenticated") is True
