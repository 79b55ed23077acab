"""What time it is on the way of a message: the running loop's clock, so that a virtual loop is obeyed everywhere."""

import asyncio
import time

from vtuber_brain.runtime.virtual import VirtualLoop


def now_s() -> float:
    """Seconds of the running loop's clock; of an ordinary loop, and outside of any, the monotonic one."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def unix_s() -> float:
    """Unix time in seconds; under a virtual loop, the loop's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return time.time()
    return loop.unix_s() if isinstance(loop, VirtualLoop) else time.time()
