"""`make bench`: measure everything, print it, and write docs/benchmarks.md."""

import importlib
import sys

from benchmarks.table import DOCS, write_page

PARTS = ("latency", "stage", "decode", "serving", "filtering", "flood", "daemon", "training", "gate")


def main() -> None:
    """Measure the parts named on the command line, or all; the page is written only when all were."""
    chosen = sys.argv[1:] or list(PARTS)
    tables = []
    for part in chosen:
        table = importlib.import_module(f"benchmarks.{part}").measure()
        print(table.markdown(), flush=True)
        tables.append(table)
    if chosen == list(PARTS):
        write_page(tables, "make bench", DOCS / "benchmarks.md")


if __name__ == "__main__":
    main()
