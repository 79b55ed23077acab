"""The operator's mute, kept in the state folder: started again, after a crash too, she is as silent as she was."""

from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

FILE = ".muted"
"""Backups leave out what begins with a dot: a state that is brought back silences nobody."""


class MuteMark:
    """An empty file in the folder `state`, there while she is muted. That it cannot be made or removed is only logged:
    a mute must work on a full disk.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / FILE

    def is_set(self) -> bool:
        """Whether she was muted and not unmuted since."""
        return self._path.exists()

    def set(self) -> None:
        """She is muted."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()
        except OSError as error:
            log.error("mute_not_kept", path=str(self._path), reason=str(error))

    def clear(self) -> None:
        """She is not any more."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.error("mute_still_kept", path=str(self._path), reason=str(error))
