"""The last minutes in figures: how much came and went, and how long answers took. Samples in memory, bounded."""

from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from prometheus_client import CollectorRegistry

EVERY_S = 5.0
MAX_SAMPLES = 120
_COUNTED = {
    "vtb_messages_received_total": "received",
    "vtb_messages_dropped_total": "dropped",
    "vtb_utterances_total": "sentences",
}
STAGES = ("first_token", "floor", "ended")
"""Of a reply: the model's first word, the first sentence said, all of it said; milliseconds since the message came."""
_PLAYED = ("vtb_stage_seconds_sum", "vtb_stage_seconds_count")

Sample = dict[str, float | None]


class Figures:
    """Sampled every EVERY_S; the last MAX_SAMPLES are kept."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = [*_COUNTED, *_PLAYED]
        self._registry = registry.restricted_registry(names)
        self._before: dict[str, float] = self._totals()
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self.num_taken = 0

    def sample(self, at: float, timings: Iterable[Mapping[str, float]]) -> None:
        """Take one at Unix time `at`; `timings` are of the replies that ended since the last."""
        now, before = self._totals(), self._before
        taken: Sample = {"at": round(at, 1)}
        for name in _COUNTED.values():
            taken[name] = round((now[name] - before[name]) / EVERY_S, 2)
        ended = list(timings)
        for stage in STAGES:
            found = [one[stage] for one in ended if stage in one]
            taken[stage] = round(median(found)) if found else None
        num = now["played"] - before["played"]
        taken["playback"] = round(1000 * (now["playback_s"] - before["playback_s"]) / num) if num > 0 else None
        self._before = now
        self._samples.append(taken)
        self.num_taken += 1

    def samples(self) -> list[Sample]:
        """The oldest first."""
        return list(self._samples)

    def _totals(self) -> dict[str, float]:
        found: dict[str, float] = dict.fromkeys([*_COUNTED.values(), "played", "playback_s"], 0.0)
        for family in self._registry.collect():
            for one in family.samples:
                if one.name in _COUNTED:
                    found[_COUNTED[one.name]] += one.value
                elif one.name in _PLAYED and one.labels.get("stage") == "playback":
                    found["played" if one.name.endswith("count") else "playback_s"] += one.value
        return found


def resident(registry: CollectorRegistry) -> dict[str, float]:
    """Memory of each process of ours, in MB."""
    found: dict[str, Any] = {}
    for family in registry.restricted_registry(["vtb_process_resident_bytes"]).collect():
        found |= {one.labels["process"]: one.value / 1e6 for one in family.samples}
    return found
