"""How much memory a process has, as Linux tells it, and how seldom its collector runs."""

import gc
import os
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int | None) -> int:
    """Bytes in memory of one process; 0 for one that is not there."""
    if pid is None:
        return 0
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def spare_the_collector() -> None:
    """In a flood a fifth of the time went into looking for cycles, of which there are hardly any."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
