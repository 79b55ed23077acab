"""Which of the waiting messages she answers next: scores, folding of the alike, waves. Pure: no clock, no I/O.

A score is a weighted sum of features between 0 and 1; the weights are settings. What a message says is compared by the
set of its words, so "what game is this" and "what GAME is this???" are one question.
"""

import math
import random
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vtuber_brain.messages import ChatMessage
from vtuber_brain.sections import ChoiceSettings

MAX_VIEWERS = 16_384
RECENT_TEXTS = 24
SHORT_WORDS, LONG_WORDS = 3, 40
RETURN_AFTER_S = 1800.0
"""A viewer who was silent for so long and writes again is one who has come back."""

Words = frozenset[str]
_WORD = re.compile(r"[^\W_]+")
_REPEATED = re.compile(r"(.)\1{2,}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that waits, with everything about its score that does not change while it does."""

    message: ChatMessage
    words: Words
    standing: float


def words_of(text: str) -> Words:
    """The words of a text without case, marks and stretched letters."""
    return frozenset(_WORD.findall(_REPEATED.sub(r"\1", text.casefold())))


_ASKING = words_of("what who why when where how which whose apa siapa kenapa kapan mana dimana gimana berapa mengapa")


def likeness(one: Words, other: Words) -> float:
    """The share of words two texts have in common, 0 to 1 (Jaccard 1901)."""
    either = len(one | other)
    return len(one & other) / either if either else 0.0


class Viewers:
    """When each viewer was last heard; of MAX_VIEWERS the one silent longest is forgotten."""

    def __init__(self) -> None:
        self._last_heard_s: OrderedDict[tuple[str, str], float] = OrderedDict()

    def hear(self, message: ChatMessage) -> float | None:
        """How long the author of `message` was silent before it; None when never heard."""
        author = (message.source, message.author.id)
        before_s = self._last_heard_s.pop(author, None)
        self._last_heard_s[author] = message.received_s
        if len(self._last_heard_s) > MAX_VIEWERS:
            self._last_heard_s.popitem(last=False)
        return message.received_s - before_s if before_s is not None else None


class Waves:
    """Recognises a wave: the same words from many viewers within a short time, such as copypasta and raid calls."""

    def __init__(self, settings: ChoiceSettings) -> None:
        self._settings = settings
        self._heard: OrderedDict[Words, deque[tuple[float, str]]] = OrderedDict()

    def note(self, candidate: Candidate) -> bool:
        """One more message; whether, with it, its words are a wave."""
        if not candidate.words:
            return False
        now_s = candidate.message.received_s
        heard = self._heard.pop(candidate.words, None) or deque(maxlen=4 * self._settings.wave_viewers)
        heard.append((now_s, candidate.message.author.id))
        self._heard[candidate.words] = heard
        while len(self._heard) > MAX_VIEWERS:
            self._heard.popitem(last=False)
        authors = {author for at_s, author in heard if now_s - at_s <= self._settings.wave_s}
        return len(authors) >= self._settings.wave_viewers


class Choice:
    """Scores and picks, by the settings' weights and strategy. `names` gives what viewers call her at present."""

    def __init__(self, settings: ChoiceSettings, names: Callable[[], Iterable[str]]) -> None:
        self._settings, self._names = settings, names
        self._viewers, self._waves = Viewers(), Waves(settings)
        self._recent: deque[Words] = deque(maxlen=RECENT_TEXTS)
        self._answered: deque[tuple[Words, float]] = deque(maxlen=RECENT_TEXTS)
        self._turns: Counter[tuple[str, str]] = Counter()
        self._random = random.Random(settings.seed)  # noqa: S311 - it draws lots, it guards nothing

    def enter(self, message: ChatMessage) -> Candidate:
        """A message as it begins to wait."""
        words, weights = words_of(message.text), self._settings
        silent_s = self._viewers.hear(message)
        roles = frozenset(message.author.roles)
        standing = (
            weights.question * ("?" in message.text or bool(words & _ASKING))
            + weights.mention * any(bool(name) and name <= words for name in map(words_of, self._names()))
            + weights.reply * (message.reply_to is not None and message.reply_to.ours)
            + weights.new_viewer * (silent_s is None)
            + weights.returning_viewer * (silent_s is not None and silent_s > RETURN_AFTER_S)
            + weights.subscriber * ("subscriber" in roles)
            + weights.moderator * bool(roles & {"moderator", "broadcaster"})
            + weights.length * _fitting_length(len(words))
        )
        return Candidate(message, words, standing)

    def note(self, text: str) -> None:
        """She said something: what is like it is no news for a while."""
        if words := words_of(text):
            self._recent.append(words)

    def is_wave(self, candidate: Candidate) -> bool:
        """Whether, with this message, its words have come from enough viewers in a short time to be a wave."""
        return self._waves.note(candidate)

    def is_being_answered(self, candidate: Candidate) -> bool:
        """Whether the like of it was picked a moment ago. A word or two, such as a greeting, is everybody's own."""
        if len(candidate.words) < SHORT_WORDS:
            return False
        since_s, limit = candidate.message.received_s - self._settings.fold_s, self._settings.fold_likeness
        return any(at_s >= since_s and likeness(candidate.words, words) >= limit for words, at_s in self._answered)

    def score(self, candidate: Candidate, now_s: float) -> float:
        """How much a message is worth answering at `now_s`."""
        weights = self._settings
        known = max((likeness(candidate.words, words) for words in self._recent), default=0.0)
        age_s = max(0.0, now_s - candidate.message.received_s)
        return candidate.standing + weights.novelty * (1 - known) + weights.age * math.exp(-age_s / weights.fresh_s)

    def pick(self, candidates: Sequence[Candidate], now_s: float) -> Candidate:
        """The one to answer, of at least one, given in the order in which they came; ties go to the newest."""
        candidates = candidates[::-1]
        match self._settings.strategy:
            case "newest":
                picked = max(candidates, key=_received)
            case "best":
                picked = max(candidates, key=lambda one: self.score(one, now_s))
            case "weighted":
                shares = [max(self.score(one, now_s), 1e-6) for one in candidates]
                (picked,) = self._random.choices(candidates, shares)
            case "round_robin":
                picked = min(candidates, key=lambda one: self._turns[_author(one)])
        self._recent.append(picked.words)
        self._answered.append((picked.words, now_s))
        self._turns[_author(picked)] += 1
        if len(self._turns) > MAX_VIEWERS:
            self._turns = Counter(dict(self._turns.most_common(MAX_VIEWERS // 2)))
        return picked

    def like(self, picked: Candidate, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The others that say the same as `picked`, near enough to be answered with it."""
        limit = self._settings.fold_likeness
        return [one for one in candidates if one is not picked and likeness(one.words, picked.words) >= limit]


def _fitting_length(num_words: int) -> float:
    """1 for a sentence or two, less for a single word or an essay."""
    if num_words < SHORT_WORDS:
        return num_words / SHORT_WORDS / 2
    return min(1.0, LONG_WORDS / num_words)


def _received(candidate: Candidate) -> float:
    return candidate.message.received_s


def _author(candidate: Candidate) -> tuple[str, str]:
    return candidate.message.source, candidate.message.author.id
