"""A whole night on the toy world, made to be killed: `python -m tests.retrain.whole_night BASE STATE KILL_AT`."""

import json
import random
import sys
from pathlib import Path

import torch

from tests.retrain.night import die_at
from tests.support import toys
from vtuber_brain.engine.wire import Configure
from vtuber_brain.night_sections import GateSettings, RetrainSettings, TrainSettings
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.retrain.asking import Judges
from vtuber_brain.retrain.processes import is_first
from vtuber_brain.retrain.run import assist, run_night
from vtuber_brain.retrain.safety import output_judge
from vtuber_brain.retrain.task import Force, Task
from vtuber_brain.sections import MemorySettings, SentimentSettings
from vtuber_brain.sentiment.rules import RuleSet

TRAIN = TrainSettings(
    rank=4, alpha=8, learning_rate=4e-3, epochs=2, pack_tokens=200, dtype="fp32", device="cpu", threads=1,
    checkpoint_steps=4,
)  # fmt: skip
LENIENT = GateSettings(
    max_unsafe=1, max_drift=9, max_kl=9, max_names=1, max_spans=1, style_margin=1, max_empty=1, max_same=1
)


def corpus(path: Path, seed: int = 10) -> Path:
    """A corpus of toy conversations, no two of which are nearly the same."""
    rng = random.Random(seed)
    rows = []
    for one in toys.streams(seed, 8):
        asked, told = one.messages
        beside = " ".join(rng.sample((*toys.ITEMS, *toys.PLACES, *toys.COLOURS), 9))
        said = [
            {"role": "user", "content": f"{asked.content} {beside}"},
            {"role": "assistant", "content": told.content},
        ]
        rows.append({"id": one.id, "messages": said})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def task(base: Path, state: Path, **changed) -> Task:
    """A night over the toy corpus, which the gate lets pass."""
    sentiment = SentimentSettings()
    settings = RetrainSettings(train=TRAIN, gate=LENIENT, canaries=0)
    given = {
        "persona": toys.PERSONA,
        "base": base,
        "base_name": "toy",
        "configure": Configure(model=str(base), dtype="model", threads=1, context=96, num_slots=8),
        "settings": settings,
        "memory": MemorySettings(),
        "state": state,
        "store": ReleaseStore(state / "personas"),
        "transcripts": None,
        "corpora": (str(corpus(state / "corpus.jsonl")),),
        "judges": lambda: Judges(output_judge(sentiment, RuleSet.load(sentiment), None, toys.PERSONA)),
        "force": Force("the test", "it is a toy"),
    }
    return Task(**{**given, **changed})


def main() -> None:
    base, state, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    state.mkdir(parents=True, exist_ok=True)
    night = task(base, state)
    if kill_at:
        die_at(kill_at)
    if not is_first():
        assist(night)
        return
    ended = run_night(night)
    sys.stdout.write(f"{ended.outcome} {ended.release.name if ended.release else ''}\n")


if __name__ == "__main__":
    main()
