"""Moves a Live2D model in VTube Studio: her mouth with her voice, moods and cues as hotkeys or expressions.

docs/vtube_studio.md has the settings, the mapping file, and what is done about each error of the API.
"""

import asyncio
from typing import Any

from vtuber_brain.plugin_api import Registry

from .login import TokenFile
from .mapping import read
from .options import Options
from .performance import Audience, Performance
from .studio import Studio, Troubles
from .voice import Watcher

_running: list[tuple[Studio, Performance, Watcher]] = []


async def setup(registry: Registry, settings: dict[str, Any]) -> None:
    """Add the face, the ears and the watch over the voice. Raises ValueError for wrong settings or a wrong mapping."""
    options = Options.of(settings)
    performance = Performance(await asyncio.to_thread(read, options.mapping))
    studio = Studio(options, performance, TokenFile(registry.state_dir / "token"), Troubles(registry.set_health))
    registry.add_source(studio)
    registry.add_sink(Audience(performance))
    watcher = Watcher(performance, options.voice_url, options.voice_token)
    registry.add_source(watcher)
    _running[:] = [(studio, performance, watcher)]


async def reload(settings: dict[str, Any]) -> None:
    """Take over other settings. Raises ValueError, and nothing has changed."""
    options = Options.of(settings)
    moves = await asyncio.to_thread(read, options.mapping)
    for studio, performance, watcher in _running:
        performance.use(moves)
        watcher.use(options.voice_url, options.voice_token)
        studio.use(options)
