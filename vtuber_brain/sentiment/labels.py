"""What a model's label names mean to us: which outputs are sentiments and which are toxicity. No model is touched."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vtuber_brain.errors import ModelRefused
from vtuber_brain.messages import Mood, Sentiment

SENTIMENTS: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
_NAMES = {
    "negative": ("negative", "neg", "negatif", "very negative"),
    "neutral": ("neutral", "neu", "netral"),
    "positive": ("positive", "pos", "positif", "very positive"),
    "toxic": ("toxic", "toxicity"),
}
_MEANING = {name: meaning for meaning, names in _NAMES.items() for name in names}
_STARS = re.compile(r"([1-5]) stars?")
_STAR_MEANING = ("negative", "negative", "neutral", "positive", "positive")


@dataclass(frozen=True, slots=True)
class Labels:
    """Indices into a model's logits: of every sentiment (softmax over them all) and of toxicity (a sigmoid each)."""

    sentiment: Mapping[Sentiment, tuple[int, ...]]
    toxic: tuple[int, ...]

    @property
    def softmax(self) -> tuple[int, ...]:
        """The indices that share one softmax."""
        return tuple(sorted(i for group in self.sentiment.values() for i in group))

    def mood(self, shares: Sequence[float], toxic: Sequence[float]) -> Mood:
        """The mood from `shares` (softmax, in the order of `softmax`) and sigmoids (in the order of `toxic`)."""
        share = dict(zip(self.softmax, shares, strict=True))
        scores: dict[str, float] = {name: sum(share[i] for i in self.sentiment[name]) for name in SENTIMENTS}
        likeliest = max(SENTIMENTS, key=lambda name: scores[name])
        return Mood(likeliest, scores, max(toxic) if toxic else None)


def understand(id2label: Mapping[int, str], override: Mapping[str, str]) -> Labels:
    """The meaning of a model's labels, `override` (label to meaning) first. Raises ModelRefused for one without any."""
    meanings = {i: override.get(label) or _meaning(label) for i, label in id2label.items()}
    unclear = [id2label[i] for i, meaning in meanings.items() if meaning not in _NAMES]
    if unclear:
        raise ModelRefused(
            f"the classifier has the labels {_listed(id2label.values())}, of which {_listed(unclear)} say nothing to "
            "us. Set sentiment.labels to map each to negative, neutral, positive or toxic"
        )
    sentiment = {name: tuple(i for i, meaning in meanings.items() if meaning == name) for name in SENTIMENTS}
    if not (sentiment["negative"] and sentiment["positive"]):
        raise ModelRefused(
            f"the classifier's labels {_listed(id2label.values())} hold no negative or no positive one. "
            "Set sentiment.labels to map them, or sentiment.model to a sentiment model"
        )
    return Labels(sentiment, tuple(i for i, meaning in meanings.items() if meaning == "toxic"))


def _meaning(label: str) -> str | None:
    name = re.sub(r"[\s_-]+", " ", label.strip().lower())
    if stars := _STARS.fullmatch(name):
        return _STAR_MEANING[int(stars.group(1)) - 1]
    return _MEANING.get(name)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
