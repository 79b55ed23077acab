"""Subtitles, captions and scenes in OBS Studio, and her audio there muted whenever she is.

docs/obs.md has the settings, and what is done about each code of obs-websocket. The client is ours, on `websockets`:
the library there is for it waits out its timeout when a connection ends, hands events on in no certain order, and
writes logins into the debug log.
"""

from typing import Any

from vtuber_brain.plugin_api import Registry

from .options import Options
from .studio import Ledger, Studio, Troubles

_running: list[Studio] = []


async def setup(registry: Registry, settings: dict[str, Any]) -> None:
    """Add the studio, which hears and keeps the connection. Raises ValueError for settings that it cannot use."""
    ledger = Ledger(registry.state_dir / "muted_by_us")
    studio = Studio(Options.of(settings), ledger, Troubles(registry.set_health))
    registry.add_source(studio)
    registry.add_sink(studio)
    _running[:] = [studio]


async def reload(settings: dict[str, Any]) -> None:
    """Take over other settings. Raises ValueError, and nothing has changed."""
    options = Options.of(settings)
    for studio in _running:
        studio.use(options)
