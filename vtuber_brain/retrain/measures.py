"""What a night measures of the contestants, and what the gate and the report read of it. Plain frozen data.

Where a new release is judged it is `candidate`, and `current` is what speaks today: the release in use, or, before the
first one, the base with the persona's prompt and examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vtuber_brain.retrain.canary import Canaries, Memorised, Triggers
from vtuber_brain.retrain.clustered import Mean
from vtuber_brain.retrain.overlap import Overlap
from vtuber_brain.retrain.safety import Safety
from vtuber_brain.retrain.style import Style

CANDIDATE, CURRENT, FEW_SHOT, BARE = "candidate", "current", "base with examples", "base with prompt alone"
PLAIN = "base"
"""The base asked without any prompt of hers."""


@dataclass(frozen=True, slots=True)
class Drift:
    """On the anchors, per token, in nats: how much worse than the base they are foreseen, and KL from the base."""

    nll: float
    kl: float
    lines: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One contestant. A figure is None where it was not, or cannot be, measured.

    `nll` is the negative log-likelihood of the held-out replies, or texts, in nats per token; `accuracy` (0..1) the
    share of these tokens that were held the likeliest.
    """

    name: str
    nll: Mean | None = None
    accuracy: float | None = None
    overlap: Overlap | None = None
    style: Style | None = None
    safety: Safety | None = None
    canaries: Canaries | None = None
    memorised: Memorised | None = None
    triggers: Triggers | None = None
    drift: Drift | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """SHA-256 (hex) of what a lora must fit: the base's weights, the tokenizer and the chat template."""

    base: str
    tokenizer: str
    template: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt and what each contestant says to it; `wanted` is the held-out reply, where there is one."""

    prompt: str
    replies: Mapping[str, str]
    wanted: str | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A whole evaluation. `difference` is candidate less current in nats per token, paired; negative is better.

    `made_for` is what the candidate was trained on, `served` what the daemon serves.
    """

    figures: tuple[Figures, ...]
    difference: Mean | None = None
    made_for: Identity | None = None
    served: Identity | None = None
    samples: tuple[Sample, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())

    def of(self, name: str) -> Figures | None:
        """The figures of the contestant called so."""
        return next((one for one in self.figures if one.name == name), None)
