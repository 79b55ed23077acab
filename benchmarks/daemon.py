"""What the daemon itself costs: memory without its children, the import, and the start."""

import asyncio
import subprocess
import sys
import time

import psutil

from benchmarks.latency import LINES
from benchmarks.live import demo, first_words_s
from benchmarks.table import Table, percentile

MIB = 2**20


def measure() -> Table:
    """Resident memory after ten replies; a fresh interpreter's import, median of five; `run` until she can talk."""
    rss, children, ready_s = asyncio.run(_lived())
    table = Table("The daemon itself", str(measure.__doc__), ["what", "measured", "aim"])
    table.rows.append(["daemon process, children not counted", f"{rss / MIB:.0f} MiB RSS", "under 180 MB"])
    for name, size in children.items():
        table.rows.append([name, f"{size / MIB:.0f} MiB RSS", ""])
    imports_s = percentile([_import_s() for _ in range(5)], 0.5)
    table.rows.append(["`import vtuber_brain.app`", f"{imports_s:.2f} s", ""])
    table.rows.append(["`run` until she can talk (second start)", f"{ready_s:.1f} s", "15 s"])
    return table


async def _lived() -> tuple[int, dict[str, int], float]:
    async with demo() as live:
        await first_words_s(live.url, "viewer", LINES)
        process = psutil.Process(live.pid)
        children = {child.cmdline()[2]: child.memory_info().rss for child in process.children()}
        return process.memory_info().rss, children, live.ready_s


def _import_s() -> float:
    start_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import vtuber_brain.app"], check=True)
    return time.perf_counter() - start_s
