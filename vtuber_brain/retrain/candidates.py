"""A turn that may be learnt from, the reasons for which one is not, and the settings of that choice. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass

from vtuber_brain.retrain.approval import ORDER, Approval
from vtuber_brain.retrain.replayed import Asked

REASONS: Mapping[str, str] = {
    "viewer_forgotten": "it answers a viewer who was forgotten",
    "viewer_opted_out": "it answers a viewer who does not want to be learnt from",
    "viewer_banned": "it answers a viewer who was sent away for good",
    "retracted": "its message was taken back",
    "denied": "its message was denied in the end",
    "not_judged": "nobody ever judged its message",
    "no_message": "its message is not in the transcripts",
    "quotes_filtered": "it repeats words, or the name, of one of those above",
    "other_persona": "another persona said it",
    "no_prompt": "when she was asked was not written down",
    "settings_unknown": "the stream's settings of the memory are no longer understood",
    "clock_stepped": "the clock went back during the stream, so what she was asked cannot be known",
    "not_heard": "too little of it was heard, or it was neither spoken nor merely cut",
    "cut_off": "it was cut for what it was about to say, or by the operator",
    "rated_down": "the operator rated it down",
    "not_approved": "nobody approved of it, and the audience did not clearly like it",
    "toxic": "it, or a message in its prompt, is too toxic",
    "personal_data": "it, or a message in its prompt, holds personal data",
    "unfit_words": "it, or a message in its prompt, holds special tokens or control characters",
    "duplicate": "the same was answered with the same",
    "near_duplicate": "nearly the same was answered with nearly the same",
    "repeated_reply": "the same words were said more than max_repeats times",
    "burst": "more than burst of that viewer's messages were answered within a minute",
    "viewer_cap": "that viewer has more than viewer_share of all examples",
    "stream_cap": "that stream has more than stream_share of all examples",
    "own_words": "her own words would be more than own_share of all examples",
}
"""Every reason for which a turn is left out, in the order in which they apply."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A turn that may be learnt from, with the words to learn, how they came to be approved and how much they weigh."""

    asked: Asked
    reply: str
    approval: Approval
    weight: float = 1.0

    @property
    def rank(self) -> tuple[int, float, str]:
        """The better first: the surest approval, then the newest."""
        return ORDER.index(self.approval), -self.asked.at, self.asked.id
