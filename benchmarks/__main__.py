"""`make bench`: measure everything, print it, and write docs/benchmarks.md."""

import importlib
import sys

from benchmarks.table import DOCS, renew_page, write_page

PARTS = ("latency", "stage", "decode", "serving", "filtering", "beside", "flood", "daemon", "training", "gate")


def main() -> None:
    """Measure the parts named on the command line, or all, and print them; the page is written when all were.

    With --page the tables of the parts named are renewed in it, on the same machine and day.
    """
    chosen = [part for part in sys.argv[1:] if part != "--page"] or list(PARTS)
    tables = []
    for part in chosen:
        table = importlib.import_module(f"benchmarks.{part}").measure()
        print(table.markdown(), flush=True)
        if "--page" in sys.argv:
            renew_page(table, DOCS / "benchmarks.md")
        tables.append(table)
    if chosen == list(PARTS):
        write_page(tables, "make bench", DOCS / "benchmarks.md")


if __name__ == "__main__":
    main()
