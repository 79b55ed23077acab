"""How she talks, in figures, from her replies alone: length, cues, pet phrases, languages, variety. Pure; no model.

Every share is of the replies that are not empty, 0 to 1. Figures that grow with the number of replies (`distinct_1`,
`distinct_2`, `repeats_self`) compare only with those of as many replies.
"""

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from vtuber_brain.retrain.overlap import ngrams, words_in
from vtuber_brain.sentiment.language import languages

PHRASE_WORDS = (3, 4, 5)
SPAN_WORDS = 6
OVERUSED = 4.0
_MARK = re.compile(r"\[([^\[\]\n]{1,40})\]")
_EMOJI_KINDS = {"So", "Sk"}


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that come up again and again: in what share of the replies, and of the corpus's."""

    words: str
    share: float
    in_corpus: float


@dataclass(frozen=True, slots=True)
class Style:
    """`words` are means of a reply; all else but `num_replies`, `phrases` and `languages` is a share.

    `wrong_cues` hold a mark in brackets that is no cue of hers, `catchphrase` the most over-used phrase,
    `echoes` repeat `SPAN_WORDS` words of what they answer, `repeats_self` as many of an earlier reply, `loops` go in
    circles, `starts_alike` begin with the commonest two words.
    """

    num_replies: int
    empty: float
    words: float
    over_long: float
    with_cue: float
    wrong_cues: float
    catchphrase: float
    emoji: float
    other_language: float
    distinct_1: float
    distinct_2: float
    repeats_self: float
    loops: float
    starts_alike: float
    questions: float
    echoes: float
    phrases: tuple[Phrase, ...] = ()
    languages: tuple[tuple[str, float], ...] = ()


def style(
    replies: Sequence[str],
    heard: Sequence[str],
    *,
    cues: Collection[str],
    max_words: int,
    spoken: Collection[str],
    corpus: Sequence[str] = (),
) -> Style:
    """The figures of `replies`, each to the message beside it in `heard`; `spoken` are codes of her languages."""
    said = [(reply, to) for reply, to in zip(replies, heard, strict=True) if reply.strip()]
    bare = [_MARK.sub(" ", reply) for reply, _ in said]
    words = [words_in(text) for text in bare]
    phrases = overused(words, [words_in(_MARK.sub(" ", line)) for line in corpus])
    mix = Counter(next(iter(languages(text)), "unknown") for text in bare)
    flat = [word for one in words for word in one]
    pairs = [pair for one in words for pair in ngrams(one, 2).elements()]
    return Style(
        num_replies=len(replies),
        empty=1 - len(said) / max(1, len(replies)),
        words=statistics.fmean(map(len, words)) if words else 0.0,
        over_long=_share(len(one) > max_words for one in words),
        with_cue=_share(any(mark in cues for mark in _MARK.findall(reply)) for reply, _ in said),
        wrong_cues=_share(not set(_MARK.findall(reply)) <= set(cues) for reply, _ in said),
        catchphrase=max((phrase.share for phrase in phrases), default=0.0),
        emoji=_share(map(has_emoji, bare)),
        other_language=sum(n for code, n in mix.items() if code not in {*spoken, "unknown"}) / max(1, len(said)),
        distinct_1=len(set(flat)) / max(1, len(flat)),
        distinct_2=len(set(pairs)) / max(1, len(pairs)),
        repeats_self=_repeats(words),
        loops=_share(map(in_circles, words)),
        starts_alike=max(Counter(tuple(one[:2]) for one in words).values(), default=0) / max(1, len(words)),
        questions=_share("?" in text for text in bare),
        echoes=_share(shares_span(one, words_in(to), SPAN_WORDS) for one, (_, to) in zip(words, said, strict=True)),
        phrases=phrases[:5],
        languages=tuple((code, n / len(said)) for code, n in mix.most_common()),
    )


def overused(replies: Sequence[Sequence[str]], corpus: Sequence[Sequence[str]]) -> tuple[Phrase, ...]:
    """Runs of 3 to 5 words in three replies or more, OVERUSED times as often as in the corpus; most used first.

    A phrase that is part of a longer one used as often is left out.
    """
    counts, known = _by_reply(replies), _by_reply(corpus)
    found: list[tuple[tuple[str, ...], Phrase]] = []
    for gram, count in sorted(counts.items(), key=lambda item: (-item[1], -len(item[0]), item[0])):
        share, in_corpus = count / max(1, len(replies)), known[gram] / max(1, len(corpus))
        is_part = any(" ".join(gram) in " ".join(longer) for longer, phrase in found if phrase.share >= share)
        if count >= 3 and share > OVERUSED * in_corpus and not is_part:
            found.append((gram, Phrase(" ".join(gram), share, in_corpus)))
    return tuple(phrase for _, phrase in found)


def in_circles(words: Sequence[str]) -> bool:
    """Whether three words running come three times in one reply."""
    return max(ngrams(words, 3).values(), default=0) >= 3


def shares_span(one: Sequence[str], other: Sequence[str], length: int) -> bool:
    """Whether `length` words running stand in both."""
    return not set(ngrams(one, length)).isdisjoint(ngrams(other, length))


def has_emoji(text: str) -> bool:
    """Whether a pictogram is in it."""
    return any(unicodedata.category(char) in _EMOJI_KINDS and not char.isascii() for char in text)


def _repeats(replies: Sequence[Sequence[str]]) -> float:
    """The share of replies with SPAN_WORDS words running, or all their words, that an earlier one had."""
    seen: set[tuple[str, ...]] = set()
    repeated = 0
    for words in replies:
        grams = set(ngrams(words, SPAN_WORDS)) or {tuple(words)}
        repeated += not grams.isdisjoint(seen)
        seen |= grams
    return repeated / max(1, len(replies))


def _by_reply(replies: Sequence[Sequence[str]]) -> Counter[tuple[str, ...]]:
    return Counter(gram for words in replies for gram in {g for order in PHRASE_WORDS for g in ngrams(words, order)})


def _share(flags: Iterable[bool]) -> float:
    seen = list(flags)
    return sum(seen) / max(1, len(seen))
