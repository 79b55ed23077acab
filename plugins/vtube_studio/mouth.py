"""How far a mouth is open while a sentence is heard, and which vowel it forms: curves over time. Pure.

A curve comes from the voice, which has the sound; where there is none it is made from the text, and fits roughly.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

MAX_STEPS = 30_000
"""Ten minutes of steps of 20 ms; a longer curve is cut."""

STEP_MS = 20
_SYLLABLE_MS, _WORD_GAP_MS, _STOP_MS = 160, 40, 240
_PIECE = re.compile(r"[aeiouy]+|\s+|[.,;:!?…]+|[^\W\d_]|\d", re.IGNORECASE)
_VOWEL_OF = {"y": "i"}


@dataclass(frozen=True, slots=True)
class Curve:
    """Every `step_ms` how open the mouth is, 0 to 1, and its vowel: one of `aeiou`, or `_` for none."""

    step_ms: float
    opens: Sequence[float]
    shape: str = ""

    def at(self, position_s: float) -> tuple[float, str]:
        """Openness and vowel at a position in the sentence; closed before its beginning and after its end."""
        step = math.floor(position_s * 1000 / self.step_ms)
        if not 0 <= step < len(self.opens):
            return 0.0, "_"
        return self.opens[step], self.shape[step] if step < len(self.shape) else "_"


def from_voice(mouth: object) -> Curve | None:
    """The voice's own `{"step_ms", "open": [0..100], "shape"}`; None where it is not that."""
    match mouth:
        case {"step_ms": int() | float() as step_ms, "open": list(opens), **rest} if step_ms > 0 and opens:
            shape = rest.get("shape")
            if all(isinstance(value, int | float) for value in opens):
                cut = [min(1.0, max(0.0, value / 100)) for value in opens[:MAX_STEPS]]
                return Curve(float(step_ms), cut, shape if isinstance(shape, str) else "")
    return None


def from_text(text: str) -> Curve:
    """A mouth that opens at each vowel and rests at each stop, at the pace of an ordinary voice."""
    opens: list[float] = []
    shape: list[str] = []
    for piece in _PIECE.findall(text):
        first = piece[0].lower()
        if first in "aeiouy" or first.isdigit():
            steps = _SYLLABLE_MS // STEP_MS
            opens += [0.2 + 0.6 * math.sin(math.pi * (step + 0.5) / steps) for step in range(steps)]
            shape += [_VOWEL_OF.get(first, first) if first.isalpha() else "e"] * steps
        else:
            pause_ms = _WORD_GAP_MS if piece.isspace() else STEP_MS if piece.isalnum() else _STOP_MS
            opens += [0.1 if piece.isalnum() else 0.0] * (pause_ms // STEP_MS)
            shape += ["_"] * (pause_ms // STEP_MS)
    return Curve(STEP_MS, opens[:MAX_STEPS], "".join(shape[:MAX_STEPS]))
