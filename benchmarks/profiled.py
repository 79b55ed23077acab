"""`vtuber-brain` with a sampler inside: which of our rooms the processor worked for, written to $BRAIN_PROFILE at exit.

Every PERIOD_S of processor time SIGPROF looks at the main thread's stack.
"""

import json
import os
import signal
from collections import Counter
from pathlib import Path
from types import FrameType

from vtuber_brain.cli import main

PERIOD_S = 0.004


def room(frame: FrameType | None) -> str:
    """The innermost module of ours on the stack; else the package it was in; `thread`: the main thread was waiting."""
    if frame is not None and frame.f_code.co_name == "select":
        return "thread"
    outside = ""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("vtuber_brain.") and name != "vtuber_brain.cli":
            return name.removeprefix("vtuber_brain.")
        outside = outside or name.split(".")[0]
        frame = frame.f_back
    return outside


if __name__ == "__main__":
    counts: Counter[str] = Counter()
    signal.signal(signal.SIGPROF, lambda _, frame: counts.update([room(frame)]))
    signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)
    try:
        main()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(os.environ["BRAIN_PROFILE"]).write_text(json.dumps(counts))
