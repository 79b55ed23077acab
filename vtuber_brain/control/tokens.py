"""Who may do what: bearer tokens and their roles, compared in constant time. No token is ever shown or logged."""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import structlog

from vtuber_brain.control_sections import ControlSettings
from vtuber_brain.errors import ConfigError, Problem

log = structlog.get_logger(__name__)

FILE = "control_token"
FINGERPRINT_DIGITS = 8


class Role(IntEnum):
    """What somebody may do; each may also do what the one before may."""

    VIEWER = 1
    MODERATOR = 2
    OWNER = 3


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who acts: the role, the token's fingerprint, and where from. `bus`: whoever the broker lets."""

    role: str
    token: str = ""
    address: str = ""


BUS = Who("bus")


class Tokens:
    """The tokens in use. Two roles never share one; config.py sees to that."""

    def __init__(self, given: Mapping[Role, str]) -> None:
        self._known = [(role, digest(token)) for role, token in given.items()]

    @property
    def known(self) -> Sequence[tuple[Role, bytes]]:
        """Every role with its token's digest: what sessions are signed with (sessions.py)."""
        return self._known

    def identify(self, token: str) -> tuple[Role, str] | None:
        """The role and the fingerprint of a token; None for one that nobody has. Takes as long whichever it is."""
        given = digest(token)
        found = None
        for role, known in self._known:
            if hmac.compare_digest(given, known):
                found = role, fingerprint(known)
        return found


def digest(token: str) -> bytes:
    """What is compared instead of the token: equally long for all."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def fingerprint(hashed: bytes) -> str:
    """What the audit log calls a token."""
    return hashed.hex()[:FINGERPRINT_DIGITS]


def load_tokens(settings: ControlSettings, state: Path) -> Tokens:
    """The settings' tokens; without an owner's, the one of the file in the state folder, made if it is not there.

    Raises ConfigError when that file cannot be read or written.
    """
    given = {
        Role.VIEWER: settings.viewer_token,
        Role.MODERATOR: settings.moderator_token,
        Role.OWNER: settings.owner_token,
    }
    known = {role: value for role, secret in given.items() if secret and (value := secret.get_secret_value())}
    return Tokens({**known, Role.OWNER: owner_token(settings, state)})


def owner_token(settings: ControlSettings, state: Path) -> str:
    """The settings', else the one of the file. Raises ConfigError as `load_tokens`."""
    given = settings.owner_token.get_secret_value() if settings.owner_token is not None else ""
    return given or own_token(state / FILE)


def own_token(path: Path) -> str:
    """The token in the file at `path`. One that is not there, or that others may have read, is made anew (0600)."""
    try:
        kept = _kept(path)
        if kept is not None:
            return kept
        token = secrets.token_urlsafe(32)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fix = "Make the state folder writable, or set control.owner_token"
        raise ConfigError([Problem(str(path), error.strerror or "cannot be used", fix)]) from None
    log.info("control_token_made", path=str(path))
    return token


def _kept(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        told = os.fstat(file.fileno())
        if told.st_uid != os.getuid() or stat.S_IMODE(told.st_mode) & 0o077:
            log.warning("control_token_renewed", path=str(path), reason="others could read it")
            return None
        return file.read(4096).strip() or None
