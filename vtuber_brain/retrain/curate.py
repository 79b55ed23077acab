"""What of her own words she learns from: approved, clean, not twice, and not too much of anybody's. Pure.

Every turn that is left out has one reason, the first that applies in the order of REASONS; none goes silently.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.night_sections import CurateSettings
from vtuber_brain.retrain import caps
from vtuber_brain.retrain.approval import ORDER, Approved, approvals
from vtuber_brain.retrain.candidates import REASONS, Candidate
from vtuber_brain.retrain.consent import Left
from vtuber_brain.retrain.conversations import Message
from vtuber_brain.retrain.corpus_checks import Complaints, Place, check_words
from vtuber_brain.retrain.replayed import Asked, Replayed
from vtuber_brain.retrain.rows import Example
from vtuber_brain.sentiment.disguises import fold
from vtuber_brain.sentiment.personal import personal_data

Toxicity = Callable[[str], float]
"""How toxic a reply is found now, 0..1; the judge who let it pass may have learnt since."""

_MADE_WAY = frozenset({None, "interrupted", "asleep", "stopping"})
"""Why a reply may have been cut that is no worse for it."""


@dataclass(frozen=True, slots=True)
class Curated:
    """What is learnt from the streams, oldest first, and what is not, by reason. `chosen` are the turns themselves."""

    examples: tuple[Example, ...]
    chosen: tuple[Candidate, ...]
    left: tuple[Left, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """How many were left out for each reason, in the order of REASONS."""
        counts = Counter(one.reason for one in self.left)
        return {reason: counts[reason] for reason in REASONS if counts[reason]}

    @property
    def approvals(self) -> dict[str, int]:
        """How many turns are learnt, by how they came to be approved."""
        counts = Counter(one.approval for one in self.chosen)
        return {approval: counts[approval] for approval in ORDER if counts[approval]}


def curate(
    streams: Sequence[Replayed], num_corpus: int, settings: CurateSettings, toxicity: Toxicity = lambda _reply: 0.0
) -> Curated:
    """Choose from the replayed streams. `num_corpus` examples are not hers; the shares are of all together."""
    left = [one for stream in streams for one in stream.left]
    candidates: list[Candidate] = []
    for stream in streams:
        approved = approvals(stream, settings.likes)
        for asked in stream.asked:
            found = _candidate(asked, approved.get(asked.reply_id), settings, toxicity)
            if isinstance(found, Candidate):
                candidates.append(found)
            else:
                left.append(Left(asked.id, found))
    for step in (caps.duplicates, caps.near_copies, caps.repeats, caps.bursts):
        candidates = _passed(candidates, step(candidates, settings), left)
    total = len(candidates) + num_corpus
    for reason, name, share in (
        ("viewer_cap", lambda one: one.asked.viewer, settings.viewer_share),
        ("stream_cap", lambda one: str(one.asked.stream), settings.stream_share),
    ):
        most = max(settings.min_cap, math.floor(share * total))
        candidates = _passed(candidates, caps.capped(candidates, reason, name, most), left)
    candidates = _passed(candidates, caps.too_many_own(candidates, num_corpus, settings.own_share), left)
    chosen = tuple(sorted(candidates, key=lambda one: (one.asked.at, one.asked.id)))
    return Curated(tuple(examples(chosen, whole=settings.rows == "reply")), chosen, tuple(left))


def check_enough(curated: Curated, num_corpus: int, settings: CurateSettings) -> None:
    """Raises ConfigError when there is too little to learn from."""
    found = len(curated.chosen) + num_corpus
    if found < settings.min_examples:
        why = ", ".join(f"{reason} {count}" for reason, count in curated.reasons.items()) or "nothing was said"
        wanted = "Correct" if curated.reasons.get("own_words") else "Rate or correct"
        fix = f"{wanted} replies (vtuber-brain transcripts approve-list), or add a corpus with --corpus"
        what = f"{found} examples, at least {settings.min_examples} are needed; left out: {why}"
        raise ConfigError([Problem("retrain", what, fix)])


def examples(chosen: Sequence[Candidate], *, whole: bool = False) -> Iterator[Example]:
    """Conversations in which every chosen reply is learnt once, oldest first.

    A reply is learnt where it stands among the past of a later prompt, if what it answers and the reply itself read
    there as they did when she was asked, and with `whole` all before that too; otherwise in its own prompt. Without
    `whole` the oldest of what she was asked with may be missing before it, as in a prompt that was cut.
    """
    by_stream: dict[int, dict[str, Candidate]] = defaultdict(dict)
    for one in chosen:
        by_stream[one.asked.stream][one.asked.reply_id] = one
    found: list[Example] = []
    for approved in by_stream.values():
        covered: set[str] = set()
        newest_first = sorted(approved.values(), key=lambda one: (one.asked.at, one.asked.id), reverse=True)
        found += [
            _example(one, approved, covered, whole=whole) for one in newest_first if one.asked.reply_id not in covered
        ]
    yield from sorted(found, key=lambda example: (example.at, example.id))


def _example(one: Candidate, approved: Mapping[str, Candidate], covered: set[str], *, whole: bool) -> Example:
    messages: list[Message] = []
    for place, message in enumerate(one.asked.prompt):
        weight = 1.0
        if message.role == "assistant":
            past = approved.get(reply_id := one.asked.past[place // 2])
            weight = 0.0
            if past is not None and reply_id not in covered and _stands(past, one, place, whole=whole):
                weight = past.weight
                covered.add(reply_id)
        messages.append(Message(message.role, message.content, weight))
    covered.add(one.asked.reply_id)
    return Example(
        id=one.asked.id,
        group=f"stream-{one.asked.stream}",
        viewers=one.asked.viewers,
        messages=(*messages, Message("assistant", one.reply, one.weight)),
        opening=True,
        at=one.asked.ended_at,
    )


def _stands(past: Candidate, one: Candidate, place: int, *, whole: bool) -> bool:
    """Whether the reply of `past` is at `place` in the prompt of `one` as it was asked for and heard."""
    before, asked = one.asked.prompt[:place], past.asked.prompt
    begins = 0 if whole else max(0, len(asked) - len(before))
    return past.reply == one.asked.prompt[place].content and before == asked[begins:]


def _candidate(
    asked: Asked, approved: Approved | None, settings: CurateSettings, toxicity: Toxicity
) -> Candidate | str:
    """The turn as a candidate, or why it is none."""
    edited = asked.rating.edited_text if asked.rating is not None else None
    if edited is None and (reason := _why_unheard(asked, settings.min_heard)) is not None:
        return reason
    if approved is None:
        return "rated_down" if asked.rating is not None and asked.rating.rating < 0 else "not_approved"
    reply = " ".join((edited if approved.how == "edited" and edited is not None else asked.heard_text).split())
    if asked.toxicity >= settings.max_toxicity or toxicity(reply) >= settings.max_toxicity:
        return "toxic"
    words = [*(message.content for message in asked.prompt), reply]
    if any(personal_data(fold(text)) for text in words):
        return "personal_data"
    if any(_is_unfit(text) for text in words):
        return "unfit_words"
    return Candidate(asked, reply, approved.how, approved.weight)


def _why_unheard(asked: Asked, min_heard: float) -> str | None:
    """Only a whole reply is an example, or one that made way after enough of it."""
    heard, said = len(asked.heard_text.split()), len(asked.text.split())
    if not heard or asked.outcome not in ("spoken", "cut"):
        return "not_heard"
    if asked.outcome == "spoken":
        return None
    if asked.reason not in _MADE_WAY:
        return "cut_off"
    return None if heard >= min_heard * said else "not_heard"


def _is_unfit(text: str) -> bool:
    complaints = Complaints("transcripts")
    check_words(text, "text", Place(complaints, 0))
    return complaints.total > 0


def _passed(candidates: Iterable[Candidate], dropped: caps.Dropped, left: list[Left]) -> list[Candidate]:
    kept = []
    for one in candidates:
        if one.asked.id in dropped:
            left.append(Left(one.asked.id, dropped[one.asked.id]))
        else:
            kept.append(one)
    return kept
