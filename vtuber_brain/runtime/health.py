"""Which parts of the daemon are working, and why one is not. It decides nothing: it remembers, and tells of changes."""

from collections.abc import Callable

import structlog

from vtuber_brain.runtime.metrics import Metrics

log = structlog.get_logger(__name__)


class Health:
    """The state of every part by name; `on_change` is called after each change."""

    def __init__(self, metrics: Metrics, on_change: Callable[[], None]) -> None:
        self._metrics, self._on_change = metrics, on_change
        self._down: dict[str, str] = {}
        self._told: dict[str, tuple[bool, str]] = {}

    @property
    def down(self) -> dict[str, str]:
        """The parts that are not working, with the reason of each."""
        return dict(self._down)

    def set(self, part: str, up: bool, reason: str = "") -> None:
        """Note that `part` works, or that it does not and why."""
        if self._told.get(part) == (up, reason):
            return
        self._told[part] = up, reason
        known = part in self._down
        if up:
            self._down.pop(part, None)
        else:
            self._down[part] = reason
        self._metrics.up.labels(part).set(up)
        if known == up:
            (log.info if up else log.warning)("part_up" if up else "part_down", part=part, reason=reason)
            self._on_change()
