"""What the network could reach without a token. Asked of by who listens; other commands need none of the tokens."""

import ipaddress
from collections.abc import Iterator

from pydantic import SecretStr

from vtuber_brain.config import Settings
from vtuber_brain.errors import Problem
from vtuber_brain.voice_sections import VoiceSettings

MIN_TOKEN_CHARS = 16


def unguarded(settings: Settings) -> Iterator[Problem]:
    """What `run` must not open with these settings."""
    chat, control = settings.websocket, settings.control
    if chat.enabled and not is_loopback(chat.host):
        yield from _short("chat", "websocket", "token", chat.token)
    if control.enabled and not is_loopback(control.host):
        yield from _short("she", "control", "owner_token", control.owner_token)
        for name, token in (("viewer_token", control.viewer_token), ("moderator_token", control.moderator_token)):
            if token is not None:
                yield from _short("she", "control", name, token)
    if settings.voice.enabled:
        yield from unguarded_voice(settings.voice)


def unguarded_voice(voice: VoiceSettings) -> Iterator[Problem]:
    """What the voice must not open with these settings."""
    if voice.output == "overlay" and not is_loopback(voice.host):
        yield from _short("the overlay", "voice", "token", voice.token)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _short(what: str, section: str, name: str, token: SecretStr | None) -> Iterator[Problem]:
    chars = len(token.get_secret_value()) if token is not None else 0
    if not chars:
        fix = f"Set {section}.{name} (VTB_{section.upper()}__{name.upper()} or a credential), or listen on 127.0.0.1"
        yield Problem(f"{section}.host", f"{what} would be open to the network without a token", fix)
    elif chars < MIN_TOKEN_CHARS:
        fix = f"Give {MIN_TOKEN_CHARS} characters or more that nobody can guess"
        yield Problem(f"{section}.{name}", "too short for a network", fix)
