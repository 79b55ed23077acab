"""What time it is on the way of a message: the running loop's clock, so that a virtual loop is obeyed everywhere."""

import asyncio
import time

from vtuber_brain.runtime.virtual import VirtualLoop

_STARTED_AT = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def now_s() -> float:
    """Seconds of the running loop's clock; of an ordinary loop, and outside of any, the monotonic one."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def unix_s() -> float:
    """Unix time in seconds, which never jumps (`steady_unix_s`); under a virtual loop, the loop's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return steady_unix_s()
    return loop.unix_s() if isinstance(loop, VirtualLoop) else steady_unix_s()


def steady_unix_s() -> float:
    """Unix time in seconds as it was when this module was loaded, and what has passed since, sleep of the machine too.

    Whoever sets the machine's clock changes nothing here: what was said before a chat was cleared stays before it, and
    a ban lasts as long as it was meant to. Until a restart.
    """
    return _STARTED_AT + time.clock_gettime(time.CLOCK_BOOTTIME)
