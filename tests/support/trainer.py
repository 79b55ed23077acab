"""Processes that train a small model, and may be told at which call of the system they kill themselves.

The moment is `NAME:N`: NAME is fsync, rename or rmtree, N counts the calls from 0.
"""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.support.rows import random_rows
from vtuber_brain.night_sections import TrainSettings
from vtuber_brain.retrain.train import train

SMALL = {
    "rank": 4,
    "alpha": 8,
    "learning_rate": 0.02,
    "epochs": 3,
    "step_rows": 8,
    "pack_tokens": 100,
    "dtype": "fp32",
    "device": "cpu",
    "threads": 1,
    "evaluate_steps": 2,
    "checkpoint_steps": 2,
    "patience": 50,
}


def small_settings(**changed: Any) -> TrainSettings:
    return TrainSettings(**{**SMALL, **changed})


def small_rows():
    """Training and validation rows that have something in common to learn."""
    rows = random_rows(40, patterned=True)
    return rows[:32], rows[32:]


def dying(module: Any, name: str, left: list[int]) -> Callable[..., Any]:
    real = getattr(module, name)

    def call(*given: Any, **named: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return real(*given, **named)

    return call


def work(base: Path, out: Path, die: str | None, told: Any, changed: dict[str, Any]) -> None:
    """Train to `out`, going on with what is there; events go to the connection `told`."""
    if die:
        name, _, count = die.partition(":")
        module: Any = shutil if name == "rmtree" else os
        setattr(module, name, dying(module, name, [int(count)]))
    torch.set_num_threads(1)
    rows, validation = small_rows()
    settings = small_settings(**changed)
    train(base, rows, validation, settings, out, resume=True, on_progress=told.send, base_name="base")


class Nursery:
    """Starts training processes, each forked from one that has imported all they need. A real process each."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.support.trainer"])

    def run(
        self, base: Path, out: Path, *, die: str | None = None, kill_after: int | None = None, **changed: Any
    ) -> int:
        """The exit status (0, or -9 when killed) of a run; `kill_after` so many events it is killed from here."""
        events, told = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(base, out, die, told, changed))
        process.start()
        told.close()
        for _ in range(kill_after) if kill_after is not None else itertools.count():
            try:
                events.recv()
            except EOFError:
                break
        if kill_after is not None:
            process.kill()
        process.join()
        assert process.exitcode is not None
        return process.exitcode


def main() -> None:
    """One of several processes that train together, as torchrun starts them."""
    base, out, changed = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    rows, validation = small_rows()
    torch.set_num_threads(1)
    trained = train(base, rows, validation, small_settings(**changed), out, base_name="base")
    told = {"looks": trained.looks, "losses": trained.losses}
    out.with_name(f"rank-{os.environ['RANK']}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
