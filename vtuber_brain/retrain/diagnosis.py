"""What is wrong with a run, and what to do: the list people go down when a fine-tune is poor, kept as rules. Pure.

The rules are the habits of the fine-tuning guides (OpenAI's, Hugging Face's, Unsloth's); each looks at numbers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vtuber_brain.retrain.measures import CANDIDATE, CURRENT, Figures, Measured

FEW_ROWS = 100
MANY_ROWS = 500
LEAST_FALL = 0.05
OVERFIT = 0.05
GOOD_NLL = 0.5


@dataclass(frozen=True, slots=True)
class Point:
    """One line of the training log: losses in nats per token. `validation` and `norm` (of the gradient) may lack."""

    step: int
    loss: float
    validation: float | None = None
    rate: float | None = None
    norm: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know: its stable code, what was seen, and what to do about it."""

    code: str
    seen: str
    advice: str


def diagnose(curve: Sequence[Point], num_rows: int, measured: Measured | None = None) -> list[Finding]:
    """Everything found, the training first. An empty list is a run like any good one."""
    found = [*_of_data(num_rows), *_of_training(curve)]
    candidate = measured.of(CANDIDATE) if measured is not None else None
    if measured is not None and candidate is not None:
        found += _of_replies(candidate, measured.of(CURRENT) or Figures(CURRENT))
    return found


def _of_data(num_rows: int) -> list[Finding]:
    if num_rows < FEW_ROWS:
        advice = f"Write or approve more examples: {FEW_ROWS} at least, {MANY_ROWS} for a manner of her own; good ones"
        return [Finding("few_rows", f"only {num_rows} rows to learn from", advice)]
    return []


def _of_training(curve: Sequence[Point]) -> list[Finding]:
    if len(curve) < 4:
        return []
    found = []
    tenth = max(1, len(curve) // 10)
    first, last = _mean(curve[:tenth]), _mean(curve[-tenth:])
    if not first - last >= LEAST_FALL * first:
        advice = "Raise learning_rate two- to fivefold; look at rows: do they hold what is to be learnt?"
        found.append(Finding("loss_not_falling", f"the loss went from {first:.2f} to {last:.2f}", advice))
    if any(point.loss != point.loss for point in curve):
        advice = "Lower learning_rate; on a CPU try dtype fp32"
        found.append(Finding("nan", "the loss was no number at some step", advice))
    seen = [point.validation for point in curve if point.validation is not None]
    if len(seen) >= 2 and seen[-1] > min(seen) * (1 + OVERFIT) and last < first:
        told = f"validation rose from {min(seen):.2f} to {seen[-1]:.2f} while the loss fell"
        advice = "Fewer epochs, a smaller rank, more dropout, or more rows; the best step is kept in any case"
        found.append(Finding("overfit", told, advice))
    jumps = [point.norm for point in curve if point.norm is not None]
    if jumps and max(jumps[len(jumps) // 4 :], default=0) > 20 * sorted(jumps)[len(jumps) // 2]:
        advice = "Lengthen warm_up or lower max_grad_norm; look for a row that is unlike all others"
        found.append(Finding("unsteady", f"the gradient's norm reached {max(jumps):.1f}", advice))
    return found


def _of_replies(ours: Figures, theirs: Figures) -> list[Finding]:
    found = []
    style, before = ours.style, theirs.style
    if style is not None:
        had_cues = before.with_cue if before is not None else 0.0
        known = style.over_long, style.repeats_self, style.loops, style.wrong_cues, style.empty, style.with_cue
        over_long, repeats, loops, wrong, empty, with_cue = known
        checks = (
            ("too_long", over_long > 0.15, f"{over_long:.0%} of the replies are over her length", _TOO_LONG),
            (
                "repetition",
                repeats > 0.15 or loops > 0.02,
                f"{max(repeats, loops):.0%} repeat or go in circles",
                _REPEATS,
            ),
            ("wrong_cue", wrong > 0.02, f"{wrong:.0%} have a mark that is no cue of hers", _WRONG_CUE),
            (
                "cue_lost",
                with_cue < had_cues - 0.2,
                f"only {with_cue:.0%} have a cue",
                _CUE_LOST,
            ),
            ("empty", empty > 0, f"{empty:.0%} of the replies are empty", _EMPTY),
            ("pet_phrase", style.catchphrase > 0.15, f"“{_phrase(ours)}” in {style.catchphrase:.0%}", _PHRASE),
        )
        found += [Finding(code, seen, advice) for code, applies, seen, advice in checks if applies]
    if ours.nll is not None and theirs.nll is not None and ours.nll.value > theirs.nll.value + GOOD_NLL:
        seen = (
            f"held-out replies are foreseen {ours.nll.value - theirs.nll.value:.2f} nats a token worse than untrained"
        )
        found.append(Finding("template_mismatch", seen, _TEMPLATE))
    if ours.drift is not None and ours.drift.nll > 0.15:
        found.append(Finding("forgetting", f"{ours.drift.nll:.2f} nats a token on the anchors", _FORGETTING))
    return found


_TOO_LONG = "Shorten the answers of the corpus: she learns their length; drop rows over max_words"
_REPEATS = "Look for rows that say the same (retrain --dry-run counts them); a little more repetition_penalty"
_WRONG_CUE = "Correct the cues in the rows, or add the name to cues.names"
_CUE_LOST = "Begin every answer of the corpus with a cue: she does as most rows do"
_EMPTY = "Look for answers that are a cue alone, and for a stop string that begins her replies"
_PHRASE = "Too many rows share it: reword some of them"
_TEMPLATE = "Prompts of rows and live ones may differ: same tokenizer, chat template, opening? See transcripts export"
_FORGETTING = "Fewer epochs or a smaller learning_rate; mix the persona's own corpus in"


def _phrase(figures: Figures) -> str:
    return figures.style.phrases[0].words if figures.style is not None and figures.style.phrases else ""


def _mean(points: Sequence[Point]) -> float:
    return sum(point.loss for point in points) / len(points)
