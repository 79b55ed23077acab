"""Which slots there are by the settings: the request of each, and where its wish comes from."""

from collections.abc import Callable, Mapping
from typing import Any

from .mute import Mutes
from .options import Options
from .screen import Screen
from .slots import Slot

Trouble = Callable[[str, str], None]
Keep = Callable[[], None]


def slots(options: Options, screen: Screen, mutes: Mutes, keep: Keep, trouble: Trouble) -> list[Slot]:
    """The mute first. `keep` is called when it may have become another's whose mute it is."""
    found = _muting(options.voice_input, mutes, keep, trouble) if options.voice_input else []
    if options.scenes:
        found.append(Slot("scene", lambda: screen.scene, _scene, trouble))
    if source := options.subtitles:
        found.append(Slot("subtitles", lambda: screen.text, lambda text: _subtitle(source, text), trouble))
    if options.captions:
        found.append(Slot("captions", lambda: _next(screen), _caption, trouble, keeps=False))
    return found


def _muting(voice: str, mutes: Mutes, keep: Keep, trouble: Trouble) -> list[Slot]:
    def known(_: Any, data: Mapping[str, Any]) -> None:
        mutes.known(data.get("inputMuted") is True)
        keep()

    def asking(muted: bool) -> None:
        mutes.ask(muted)
        keep()

    def done(muted: bool, _: Mapping[str, Any]) -> None:
        mutes.told(muted)
        keep()

    look = ("GetInputMute", {"inputName": voice})
    return [
        Slot("voice_input", lambda: True, lambda _: look, trouble, on_done=known, insists=True),
        Slot(
            "mute",
            lambda: mutes.wanted,
            lambda muted: ("SetInputMute", {"inputName": voice, "inputMuted": muted}),
            trouble,
            on_asking=asking,
            on_done=done,
            keeps=False,
            insists=True,
        ),
    ]


def _scene(name: str) -> tuple[str, Mapping[str, Any]]:
    return "SetCurrentProgramScene", {"sceneName": name}


def _subtitle(source: str, text: str) -> tuple[str, Mapping[str, Any]]:
    return "SetInputSettings", {"inputName": source, "inputSettings": {"text": text}, "overlay": True}


def _caption(text: str) -> tuple[str, Mapping[str, Any]]:
    return "SendStreamCaption", {"captionText": text}


def _next(screen: Screen) -> str | None:
    return screen.captions.popleft() if screen.captions else None
