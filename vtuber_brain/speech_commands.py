"""`vtuber-brain mute`, `skip`, `say` and the like: the running daemon's mouth, from a terminal, over the bus."""

from collections.abc import Mapping
from typing import Any

from vtuber_brain.orders import Config, have_done


def mute(*, config: Config = None) -> int:
    """Silence her at once, until unmute."""
    return _order(config, "mute")


def unmute(*, config: Config = None) -> int:
    """Let her speak again, also after the gate paused her."""
    return _order(config, "unmute")


def skip(*, config: Config = None) -> int:
    """Cut the reply that is being spoken."""
    return _order(config, "skip")


def say(text: str, *, config: Config = None) -> int:
    """Have her say these words, if the gate lets them."""
    return _order(config, "say", text=text)


def sleep(*, config: Config = None) -> int:
    """End the stream: running replies end, the engine leaves the device, and the night may train beside the daemon."""
    return _order(config, "sleep")


def wake(*, config: Config = None) -> int:
    """Begin the next stream, with the release that is current by then."""
    return _order(config, "wake")


def _order(config: Config, command: str, **fields: str) -> int:
    return have_done(config, _nothing, "see --help", command=command, **fields)


def _nothing(_answer: Mapping[str, Any]) -> None:
    """Done is all there is to say."""
