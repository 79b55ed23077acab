"""A word to systemd: ready, reloading, stopping, alive, and a line of status. Says nothing where nobody asked to hear.

The protocol is sd_notify(3): one datagram of `NAME=value` lines to the Unix socket that `NOTIFY_SOCKET` names. A socket
that is gone is logged and never stops the daemon.
"""

import os
import socket
import time

import structlog

log = structlog.get_logger(__name__)

SEND_TIMEOUT_S = 1.0


def ready() -> None:
    """The daemon serves; also said when a reload is done."""
    _notify("READY=1")


def reloading() -> None:
    """A reload has begun; `ready` ends it."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping() -> None:
    """The daemon drains and will exit."""
    _notify("STOPPING=1")


def watchdog() -> None:
    """The daemon lives; to be said more often than WatchdogSec (`watchdog.interval_s`)."""
    _notify("WATCHDOG=1")


def status(text: str) -> None:
    """One line for `systemctl status`."""
    _notify("STATUS=" + " ".join(text.split()))


def _notify(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract namespace, as systemd writes it
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_TIMEOUT_S)
            sender.sendto(state.encode(), address)
    except OSError as error:
        log.warning("notify_failed", state=state, error=str(error))
