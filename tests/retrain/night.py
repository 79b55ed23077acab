"""A night of small steps with checkpoints, made to be killed: `python -m tests.retrain.night FOLDER KILL_AT`."""

import hashlib
import itertools
import os
import signal
import sys
from pathlib import Path

from vtuber_brain.retrain.journal import STEPS, Results, open_night

CHANGES = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "ftruncate", "pwrite", "open")


def main():
    root, kill_at = Path(sys.argv[1]), int(sys.argv[2])
    if kill_at:
        die_at(kill_at)
    journal = open_night(root, 1_800_000_000.0)
    before = "seed"
    for step in STEPS:
        entry = journal.do(
            step, {"before": before, "settings": {"rank": 4}}, lambda folder, s=step, b=before: work(folder, s, b)
        )
        before = "".join(entry.results.values())
    sys.stdout.write(journal.name + "\n")


def work(folder, step, before):
    """Three checkpoints, each from the one before; then bytes, a file and a folder."""
    for n in range(3):
        checkpoint = folder / f"checkpoint-{n}"
        if not checkpoint.exists():
            earlier = (folder / f"checkpoint-{n - 1}").read_text() if n else before
            (folder / "draft").write_text(hashlib.sha256(f"{step}{earlier}".encode()).hexdigest())
            (folder / "draft").rename(checkpoint)
    made = folder / "made"
    made.mkdir(exist_ok=True)
    content = (folder / "checkpoint-2").read_text()
    for n in range(2):
        (made / str(n)).write_text(content * (n + 1))
    (folder / "alone").write_text(content)
    return Results({"bytes.json": content.encode(), "weights": made, "rows.jsonl.gz": folder / "alone"}, {"n": 3})


def die_at(number):
    count = itertools.count(1)

    def dying(real):
        def call(*arguments, **named):
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for change in CHANGES:
        setattr(os, change, dying(getattr(os, change)))


if __name__ == "__main__":
    main()
