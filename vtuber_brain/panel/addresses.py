"""Where the pages are: the panel, the overlay, the chat. From the settings alone, whoever answers there."""

from dataclasses import dataclass, field
from urllib.parse import quote

from vtuber_brain.config import Settings

_ANYWHERE = {"0.0.0.0", "::", ""}


@dataclass(frozen=True, slots=True)
class Addresses:
    """`chat`: the chat's WebSocket, None where it is off; `overlay`: the voice's page; `voice`: its host and port."""

    chat: str | None
    overlay: str
    voice: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Doors:
    """What is opened in a browser. `panel` asks for a token; `link` brings it, `once` does so one time only.

    `overlay`: the voice's page; `is_voiced`: whether the daemon starts the voice.
    """

    panel: str
    link: str = field(repr=False)
    once: str = field(repr=False)
    overlay: str
    is_voiced: bool
    may_open: bool


def addresses(settings: Settings) -> Addresses:
    """As a browser on this machine reaches them."""
    chat, voice = settings.websocket, settings.voice
    return Addresses(
        chat=f"ws://{near(chat.host)}:{chat.port}/chat" if chat.enabled else None,
        overlay=f"http://{near(voice.host)}:{voice.port}/overlay",
        voice=(near(voice.host).strip("[]"), voice.port),
    )


def login_link(settings: Settings, port: int, token: str = "") -> str:
    """The panel's address; with a token, one that lets in whoever opens it."""
    return f"http://{near(settings.control.host)}:{port}/" + (f"login?token={quote(token, safe='')}" if token else "")


def near(host: str) -> str:
    """The name of a host in an address for this machine; one that listens everywhere is also here."""
    if host in _ANYWHERE:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
