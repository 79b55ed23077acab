"""Changes a store of releases again and again, made to be killed: at random, or at one named step after the other."""

import itertools
import json
import os
import random
import signal
import sys
from pathlib import Path

from tests.releases.makers import SERVED, manifest, weights
from vtuber_brain.errors import ConfigError, Refused
from vtuber_brain.night_sections import ReleaseSettings
from vtuber_brain.releases.publish import prune, publish
from vtuber_brain.releases.store import ReleaseStore

STEPS = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "ftruncate", "open")


def main():
    if sys.argv[1] == "forever":
        forever(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        steps(Path(sys.argv[2]))


def forever(root, seed):
    rng, store = random.Random(seed), ReleaseStore(root)
    out = root.parent / "out"
    for n in itertools.count():
        number = seed * 1000 + n
        folder = weights(out / str(number % 7), number, 5000)
        try:
            publish(store, folder, manifest(folder, day=number % 3000), SERVED)
            if n == 0:
                tell("begun\n")
            if rng.random() < 0.5:
                store.rollback("mori", "ana")
            if rng.random() < 0.3:
                store.pin("mori", rng.choice(store.releases("mori")).name)
            if rng.random() < 0.3:
                store.unpin("mori", rng.choice(store.releases("mori")).name)
            prune(store, "mori", ReleaseSettings(max_releases=4))
        except (ConfigError, Refused) as error:
            if "rolled back" not in str(error):
                raise


def steps(folder):
    for n in itertools.count(1):
        root = folder / str(n) / "personas"
        store = ReleaseStore(root)
        for number in range(3):
            made = weights(folder / "out" / str(number), number)
            publish(store, made, manifest(made, day=number), SERVED)
        if (child := os.fork()) == 0:
            die_at(n)
            change(store, folder)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        tell(json.dumps({"root": str(root), "ended": ended}) + "\n")
        if ended:
            return


def change(store, folder):
    made = weights(folder / "out" / "4", 4)
    publish(store, made, manifest(made, day=4), SERVED)
    store.pin("mori", store.releases("mori")[0].name)
    store.rollback("mori", "ana")
    store.rollback("mori", "ana")
    prune(store, "mori", ReleaseSettings(max_releases=1))


def die_at(number):
    """From now on, be killed right before the so-manieth change of the file system."""
    count = itertools.count(1)

    def dying(real):
        def call(*arguments, **named):
            if next(count) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for step in STEPS:
        setattr(os, step, dying(getattr(os, step)))


def tell(text):
    sys.stdout.write(text)
    sys.stdout.flush()


main()
