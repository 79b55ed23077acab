"""Keeps the voice's process running beside the daemon, where `voice.enabled` asks for it: started again when it ends,
ended with the daemon, and never a reason for the daemon to stop.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from vtuber_brain.runtime.retry import backoff

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
STABLE_S = 60.0
STOP_S = 3.0
_NOT_ITS_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""What systemd told the daemon, and nobody else."""


class VoiceKeeper:
    """One child, `vtuber-brain voice` with the daemon's config; `on_state(up, reason)` hears how it is.

    The child ends when its standard input does, so also when the daemon is killed.
    """

    def __init__(self, config: Path | None, bus_port: int, on_state: Callable[[bool, str], None]) -> None:
        self._config, self._bus_port, self._on_state = config, bus_port, on_state
        self.pid: int | None = None

    async def run(self) -> None:
        """Keep it running until cancelled, then end it."""
        pauses = backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        while True:
            started_s = time.monotonic()
            why = await self._live()
            self._on_state(False, why)
            if time.monotonic() - started_s > STABLE_S:
                pauses = backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
            await asyncio.sleep(next(pauses))

    async def _live(self) -> str:
        """One life of the child; why it ended."""
        argv = [sys.executable, "-m", "vtuber_brain", "voice", "--with-parent"]
        argv += ["--config", str(self._config)] if self._config is not None else []
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_ITS_OWN}
        environment["VTB_BUS__PORT"] = str(self._bus_port)
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # a ctrl-C in the terminal is for the daemon alone
            )
        except OSError as error:
            return error.strerror or str(error)
        self.pid = process.pid
        self._on_state(True, "")
        try:
            status = await process.wait()
        finally:
            self.pid = None
            await _end(process)
        log.warning("voice_ended", status=status)
        return f"its process ended with status {status}"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask, wait, kill; what it has started goes with it."""
    try:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        assert process.stdin is not None
        process.stdin.close()
        gone = asyncio.create_task(process.wait(), name="voice-end")
        try:
            await asyncio.shield(gone)
        except asyncio.CancelledError:
            await gone
            raise
