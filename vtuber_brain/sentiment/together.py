"""What two texts say only together: a word, a topic, a number cut in two, or a viewer's words said back to them.

Pure, over cleaned texts. Each text alone has passed or failed already; these rules name what the pair adds.
"""

import re
from collections.abc import Iterator, Sequence

from vtuber_brain.sentiment.blocklist import Blocklist
from vtuber_brain.sentiment.disguises import as_letters, fold
from vtuber_brain.sentiment.injection import is_injection
from vtuber_brain.sentiment.language import COMMON
from vtuber_brain.sentiment.personal import personal_data
from vtuber_brain.sentiment.rules import RuleSet, topics

_EDGE = re.compile(r"^[\W_]+|[\W_]+$")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_QUOTED = re.compile(r"[\"“”«»]([^\"“”«»]{3,80})[\"“”«»]|(?<!\w)'([^']{3,80})'(?!\w)")
_PAYLOAD = re.compile(
    r"\b(?:after me|say exactly|say the following|word for word|read (?:this|my \w+)|bilang|katakan|ucapkan|say)\b"
    r" ?[:,] ?(.{3,})"
)
_DISGUISED = re.compile(r"[a-z]+[\d@$!|+*]+[a-z]{2,}|[a-z]{2,}[\d@$!|+*]+[a-z]+")
KEPT_WORDS = 12
LONG_ECHO_WORDS, MIN_OWN_WORDS = 6, 2


def together(previous: str, sentence: str, rules: RuleSet, blocked_topics: tuple[str, ...]) -> list[str]:
    """Reason codes against saying our `sentence` right after our `previous` one that neither gets alone.

    `blocked_word`, `personal_data` and `blocked_topic` over the joint of the two, with a space between and without.
    """
    checks = (
        ("blocked_word", _split_word(previous, sentence, rules.blocked)),
        ("personal_data", _split_data(previous, sentence)),
        ("blocked_topic", _split_word(previous, sentence, topics(blocked_topics))),
    )
    return [reason for reason, applies in checks if applies]


def split_over(previous_text: str, text: str, rules: RuleSet) -> list[str]:
    """Reason codes against a viewer's `text` that only come about with what the same viewer wrote just before.

    `previous_text` may be several messages, joined by spaces: only its end counts.
    """
    checks = (
        ("blocked_word", _split_word(previous_text, text, rules.blocked)),
        ("personal_data", rules.personal_data == "deny" and _split_data(previous_text, text)),
        ("injection", _split_order(previous_text, text)),
    )
    return [reason for reason, applies in checks if applies]


def echoes(sentence: str, heard: str) -> bool:
    """Whether our `sentence` says back what should not be said back of the viewer's text `heard`.

    That is: anything they put in quotation marks or ordered her to say, unless all its words are common ones; any word
    they disguised (`z0rble`), as written or read out; six words of theirs in a row, two of them uncommon.
    """
    said, theirs = fold(sentence), fold(heard)
    words, their_words = _WORD.findall(said), _WORD.findall(theirs)
    if any(_stands_in(span, words) for span in _spans(theirs)):
        return True
    if any(form in said for word in _DISGUISED.findall(theirs) for form in [word, *as_letters(word)]):
        return True
    return not _long_runs(words).isdisjoint(_long_runs(their_words))


def _long_runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    """Every six words in a row that say something of their own, as "I like to go to the" does not."""
    runs = (tuple(words[n : n + LONG_ECHO_WORDS]) for n in range(len(words) - LONG_ECHO_WORDS + 1))
    return {run for run in runs if sum(word not in COMMON for word in run) >= MIN_OWN_WORDS}


def _split_word(first: str, second: str, blocked: Blocklist) -> bool:
    """Whether a listed word or phrase lies across the border; only the words near it are looked at."""
    before, after = fold(first).split()[-KEPT_WORDS:], fold(second).split()[:KEPT_WORDS]
    if not before or not after:
        return False
    head, tail = " ".join(before), " ".join(after)
    if blocked.search_folded(f"{head} {tail}") and not blocked.search_folded(head) and not blocked.search_folded(tail):
        return True
    left, right = _EDGE.sub("", before[-1]), _EDGE.sub("", after[0])
    edges = (left, right) if left and right else ("", "")
    return (
        bool(edges[0])
        and blocked.search_folded("".join(edges)) is not None
        and not any(map(blocked.search_folded, edges))
    )


def _split_data(first: str, second: str) -> bool:
    before, after = " ".join(fold(first).split()[-KEPT_WORDS:]), " ".join(fold(second).split()[:KEPT_WORDS])
    known = {*personal_data(before), *personal_data(after)}
    joints = (f"{before.rstrip('.!?…')}{joint}{after}" for joint in (" ", ""))
    return any(kind not in known for joined in joints for kind in personal_data(joined))


def _split_order(first: str, second: str) -> bool:
    before, after = fold(" ".join(first.split()[-KEPT_WORDS:])), fold(second)
    return is_injection(f"{before} {after}") and not is_injection(before) and not is_injection(after)


def _spans(theirs: str) -> Iterator[list[str]]:
    """The words of each span that was quoted, or ordered to be said."""
    quoted = (one or other for one, other in _QUOTED.findall(theirs))
    for span in (*quoted, *_PAYLOAD.findall(theirs)):
        words = _WORD.findall(span)
        if not COMMON.issuperset(words):
            yield words


def _stands_in(span: Sequence[str], words: Sequence[str]) -> bool:
    num = len(span)
    return any(list(words[n : n + num]) == list(span) for n in range(len(words) - num + 1))
