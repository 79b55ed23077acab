"""Which request has which row of the KV cache, and what each row still remembers. Pure: no tensor in sight.

A row remembers its tokens after its request has ended, so a later prompt that begins alike, under the same lora, finds
its beginning computed. A row's memory is valid for exactly `len(tokens)` positions. Pinned rows hold the beginnings of
personas' prompts: requests copy from them and never get them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

MIN_COPY_TOKENS = 16
"""A shorter common beginning is quicker computed than copied."""


@dataclass(slots=True)
class Slot:
    """One row: the tokens whose K and V it holds, under which lora (content hash; None: base), and if it is taken.

    `pin` is the name under which a pinned row keeps its tokens.
    """

    index: int
    tokens: list[int] = field(default_factory=list)
    lora: str | None = None
    busy: bool = False
    last_used: int = 0
    pin: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a prompt goes: its first `num_cached` positions need no computing, copied from row `copy_from` if given."""

    slot: Slot
    num_cached: int
    copy_from: int | None


class Slots:
    """All rows: `num_slots` for requests, then `num_pinned` for beginnings that are kept.

    Reuses the free row with the longest common prefix; copies from another row where that saves more. Of rows equally
    good, the one used least recently is taken.
    """

    def __init__(self, num_slots: int, num_pinned: int = 0) -> None:
        self._slots = [Slot(index) for index in range(num_slots)]
        self._pinned = [Slot(num_slots + index) for index in range(num_pinned)]
        self._clock = 0

    @property
    def num_slots(self) -> int:
        """Rows for requests."""
        return len(self._slots)

    @property
    def num_taken(self) -> int:
        """Rows, pinned ones too, in which something is being computed."""
        return sum(slot.busy for slot in [*self._slots, *self._pinned])

    @property
    def num_tokens(self) -> int:
        """Tokens that all rows hold."""
        return sum(len(slot.tokens) for slot in [*self._slots, *self._pinned])

    def allocate(self, prompt: Sequence[int], lora: str | None, pin: str | None = None) -> Placement | None:
        """Take a row for `prompt`, or None when all are taken. At least the last prompt token is left to compute.

        With `pin` it is a pinned row: the one of that name, else one without a name, else the one used least recently.
        """
        home = self._home(prompt, lora) if pin is None else self._pinned_home(pin)
        if home is None:
            return None
        reusable = {slot.index: _common(slot, prompt, lora) for slot in [*self._slots, *self._pinned]}
        donor = max([*self._slots, *self._pinned], key=lambda slot: reusable[slot.index])
        num_cached, copy_from = reusable[home.index], None
        if reusable[donor.index] >= num_cached + MIN_COPY_TOKENS:
            home = self._least_used() if pin is None else home
            num_cached, copy_from = reusable[donor.index], donor.index
            self._touch(donor)
        home.busy, home.lora, home.tokens, home.pin = True, lora, list(prompt[:num_cached]), pin
        return Placement(home, num_cached, copy_from)

    def release(self, slot: Slot) -> None:
        """Give a row back; what it holds stays until another prompt needs the room."""
        assert slot.busy, f"slot {slot.index} released twice"
        slot.busy = False
        self._touch(slot)

    def forget(self, slot: Slot) -> None:
        """Distrust what a row holds: a forward over it failed."""
        slot.tokens = []

    def _home(self, prompt: Sequence[int], lora: str | None) -> Slot | None:
        free = (slot for slot in self._slots if not slot.busy)
        return max(free, key=lambda slot: (_common(slot, prompt, lora), -slot.last_used, -slot.index), default=None)

    def _pinned_home(self, pin: str) -> Slot | None:
        free = [slot for slot in self._pinned if not slot.busy]
        named = (slot for slot in free if slot.pin == pin)
        return next(named, min(free, key=lambda slot: (slot.pin is not None, slot.last_used), default=None))

    def _least_used(self) -> Slot:
        return min((slot for slot in self._slots if not slot.busy), key=lambda slot: (slot.last_used, slot.index))

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.last_used = self._clock


def _common(slot: Slot, prompt: Sequence[int], lora: str | None) -> int:
    if slot.lora != lora:
        return 0
    limit = min(len(slot.tokens), len(prompt) - 1)
    for position in range(limit):
        if slot.tokens[position] != prompt[position]:
            return position
    return limit
