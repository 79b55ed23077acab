"""What the daemon itself costs: memory without its children, the import, and the start."""

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil

from benchmarks.latency import LINES
from benchmarks.live import demo, first_words_s
from benchmarks.table import Table, percentile

MIB = 2**20
SETTLE_S, IDLE_S = 3.0, 20.0


def measure() -> Table:
    """Resident memory after ten replies; a fresh interpreter's import, median of five; `run` until she can talk."""
    lived = asyncio.run(_lived())
    table = Table("The daemon itself", str(measure.__doc__), ["what", "measured", "aim"])
    table.rows.append(["daemon process, children not counted", f"{lived.rss / MIB:.0f} MiB RSS", "under 180 MB"])
    table.rows.append(
        [f"the same, of one core while nothing happens for {IDLE_S:g} s", f"{lived.idle:.2%}", "under 1 %"]
    )
    for name, size in lived.children.items():
        table.rows.append([name, f"{size / MIB:.0f} MiB RSS", ""])
    imports_s = percentile([_import_s() for _ in range(5)], 0.5)
    table.rows.append(["`import vtuber_brain.app`", f"{imports_s:.2f} s", ""])
    table.rows.append(["`run` until the bus has her status", f"{lived.bus_s:.2f} s", "1 s"])
    table.rows.append(["`run` until she can talk (second start)", f"{lived.ready_s:.1f} s", "15 s"])
    return table


@dataclass(frozen=True, slots=True)
class _Lived:
    """Sizes in bytes, `idle` as a share of one core."""

    rss: int
    children: dict[str, int]
    idle: float
    ready_s: float
    bus_s: float


async def _lived() -> _Lived:
    async with demo() as live:
        await first_words_s(live.url, "viewer", LINES)
        process = psutil.Process(live.pid)
        children = {child.cmdline()[2]: child.memory_info().rss for child in process.children()}
        rss = process.memory_info().rss
        await asyncio.sleep(SETTLE_S)
        before_s = _cpu_s(process)
        await asyncio.sleep(IDLE_S)
        return _Lived(rss, children, (_cpu_s(process) - before_s) / IDLE_S, live.ready_s, live.bus_s)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _import_s() -> float:
    start_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import vtuber_brain.app"], check=True)
    return time.perf_counter() - start_s
