"""What the operator decided of messages that waited for a human, as the classifier's examples. Reads, changes nothing.

Whose words nobody may learn from (vtuber_brain/retrain/consent.py) is in none of them.
"""

from pathlib import Path

from vtuber_brain.retrain.classifier_data import Example
from vtuber_brain.retrain.consent import why_filtered
from vtuber_brain.transcripts.past import Said, streams

ORIGIN = "corrections"
HOLD_OUT = 1 / 3
"""More than of other files: there are few, and what was in doubt says most of whether a classifier is better."""


def corrections(path: Path) -> list[Example]:
    """The decisions of every stream in the transcripts at `path`, the newest third held out; of one text the last.

    Raises ConfigError when the file cannot be read.
    """
    toxic: dict[str, float] = {}
    for stream in streams(path):
        for said in stream.said.values():
            share = _share(said)
            if share is not None and said.last is not None and why_filtered(stream, said) in (None, "denied"):
                toxic.pop(said.last.text, None)  # so that it stands where it was decided last
                toxic[said.last.text] = share
    num_train = len(toxic) - round(HOLD_OUT * len(toxic))
    return [
        Example(text, None, share, ORIGIN, "train" if number < num_train else "valid")
        for number, (text, share) in enumerate(toxic.items())
    ]


def _share(said: Said) -> float | None:
    """How toxic the operator found it; None where nobody decided, or denied what no classifier had doubted."""
    if said.last is None or "operator" not in said.last.reasons or not said.last.text.strip():
        return None
    if said.last.action == "allow":
        return 0.0
    return 1.0 if "doubtful" in said.last.reasons else None
