"""Which request has which row of the KV cache, and what each row still remembers. Pure: no tensor in sight.

A row remembers its tokens after its request has ended, so a later prompt that begins alike, under the same lora, finds
its beginning computed. A row's memory is valid for exactly `len(tokens)` positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

MIN_COPY_TOKENS = 16
"""A shorter common beginning is quicker computed than copied."""


@dataclass(slots=True)
class Slot:
    """One row: the tokens whose K and V it holds, under which lora (content hash; None: base), and if it is taken."""

    index: int
    tokens: list[int] = field(default_factory=list)
    lora: str | None = None
    busy: bool = False
    last_used: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a prompt goes: its first `num_cached` positions need no computing, copied from row `copy_from` if given."""

    slot: Slot
    num_cached: int
    copy_from: int | None


class Slots:
    """All rows. Reuses the free row with the longest common prefix; copies from another row where that saves more."""

    def __init__(self, num_slots: int) -> None:
        self._slots = [Slot(index) for index in range(num_slots)]
        self._clock = 0

    @property
    def num_slots(self) -> int:
        """All rows."""
        return len(self._slots)

    @property
    def num_free(self) -> int:
        """Rows no request has."""
        return sum(not slot.busy for slot in self._slots)

    def allocate(self, prompt: Sequence[int], lora: str | None) -> Placement | None:
        """Take a row for `prompt`, or None when all are taken. At least the last prompt token is left to compute."""
        free = [slot for slot in self._slots if not slot.busy]
        if not free:
            return None
        reusable = {slot.index: self._common(slot, prompt, lora) for slot in self._slots}
        home = max(free, key=lambda slot: (reusable[slot.index], -slot.last_used, -slot.index))
        donor = max(self._slots, key=lambda slot: reusable[slot.index])
        num_cached, copy_from = reusable[home.index], None
        if reusable[donor.index] >= num_cached + MIN_COPY_TOKENS:
            home = min(free, key=lambda slot: (slot.last_used, slot.index))
            num_cached, copy_from = reusable[donor.index], donor.index
        home.busy, home.lora, home.tokens = True, lora, list(prompt[:num_cached])
        return Placement(home, num_cached, copy_from)

    def release(self, slot: Slot) -> None:
        """Give a row back; what it holds stays until another prompt needs the room."""
        assert slot.busy, f"slot {slot.index} released twice"
        self._clock += 1
        slot.busy, slot.last_used = False, self._clock

    def forget(self, slot: Slot) -> None:
        """Distrust what a row holds: a forward over it failed."""
        slot.tokens = []

    @staticmethod
    def _common(slot: Slot, prompt: Sequence[int], lora: str | None) -> int:
        if slot.lora != lora:
            return 0
        limit = min(len(slot.tokens), len(prompt) - 1)
        for position in range(limit):
            if slot.tokens[position] != prompt[position]:
                return position
        return limit
