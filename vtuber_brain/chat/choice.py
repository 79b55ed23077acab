"""Which of the waiting messages she answers next: scores, folding of the alike, waves. Pure: no clock, no I/O.

A score is a weighted sum of features between 0 and 1; the weights are settings. What a message says is compared by the
set of its words, so "what game is this" and "what GAME is this???" are one question.
"""

import math
import random
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vtuber_brain.chat.waves import SHORT_WORDS, Waves, Words, likeness
from vtuber_brain.messages import ChatMessage, Chosen, Mood
from vtuber_brain.sections import ChoiceSettings

MAX_VIEWERS = 16_384
RECENT_TEXTS = 24
LONG_WORDS = 40
RETURN_AFTER_S = 1800.0
"""A viewer who was silent for so long and writes again is one who has come back."""

_WORD = re.compile(r"[^\W_]+")
_REPEATED = re.compile(r"(.)\1{2,}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that waits, with what counts for it whenever it is taken, and its mood once that is known."""

    message: ChatMessage
    words: Words
    traits: Mapping[str, float]
    standing: float
    mood: Mood | None = None

    def felt(self, mood: Mood | None) -> "Candidate":
        """The same with its mood."""
        return replace(self, mood=mood)


def words_of(text: str) -> Words:
    """The words of a text without case, marks and stretched letters."""
    return frozenset(_WORD.findall(_REPEATED.sub(r"\1", text.casefold())))


_ASKING = words_of("what who why when where how which whose apa siapa kenapa kapan mana dimana gimana berapa mengapa")


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


class Choice:
    """Scores and picks, by the settings' weights and strategy. `names` gives what viewers call her at present."""

    def __init__(self, settings: ChoiceSettings, names: Callable[[], Iterable[str]]) -> None:
        self._settings, self._names = settings, names
        self._viewers = Viewers()
        self._waves = Waves(settings.wave_viewers, settings.wave_s, settings.fold_likeness)
        self._recent: deque[Words] = deque(maxlen=RECENT_TEXTS)
        self._answered: deque[tuple[Words, float]] = deque(maxlen=RECENT_TEXTS)
        self._turns: Counter[tuple[str, str]] = Counter()
        self._random = random.Random(settings.seed)  # noqa: S311 - it draws lots, it guards nothing

    def enter(self, message: ChatMessage) -> Candidate:
        """A message as it begins to wait."""
        words, weights = words_of(message.text), self._settings
        silent_s = self._viewers.hear(message)
        roles = frozenset(message.author.roles)
        traits = {
            "question": weights.question * ("?" in message.text or bool(words & _ASKING)),
            "mention": weights.mention * any(bool(name) and name <= words for name in map(words_of, self._names())),
            "reply": weights.reply * (message.reply_to is not None and message.reply_to.ours),
            "new_viewer": weights.new_viewer * (silent_s is None),
            "returning_viewer": weights.returning_viewer * (silent_s is not None and silent_s > RETURN_AFTER_S),
            "subscriber": weights.subscriber * ("subscriber" in roles),
            "moderator": weights.moderator * bool(roles & {"moderator", "broadcaster"}),
            "length": weights.length * _fitting_length(len(words)),
        }
        return Candidate(message, words, traits, sum(traits.values()))

    def note(self, text: str) -> None:
        """She said something: what is like it is no news for a while."""
        if words := words_of(text):
            self._recent.append(words)

    def is_wave(self, candidate: Candidate) -> bool:
        """Whether, with this message, its words have come from enough viewers in a short time to be a wave."""
        return self._waves.note(candidate.message, candidate.words)

    def is_being_answered(self, candidate: Candidate) -> bool:
        """Whether the like of it was picked a moment ago. A word or two, such as a greeting, is everybody's own."""
        if len(candidate.words) < SHORT_WORDS:
            return False
        since_s, limit = candidate.message.received_s - self._settings.fold_s, self._settings.fold_likeness
        return any(at_s >= since_s and likeness(candidate.words, words) >= limit for words, at_s in self._answered)

    def score(self, candidate: Candidate, now_s: float) -> float:
        """How much a message is worth answering at `now_s`."""
        return candidate.standing + sum(self._moment(candidate, now_s).values())

    def explain(self, candidate: Candidate, now_s: float, num_waiting: int) -> Chosen:
        """What its score is made of, the largest part first; `num_waiting`: it and those that wait with it."""
        parts = {**candidate.traits, **self._moment(candidate, now_s)}
        told = {name: round(part, 2) for name, part in sorted(parts.items(), key=lambda item: -abs(item[1])) if part}
        return Chosen(round(sum(parts.values()), 2), told, num_waiting)

    def pick(self, candidates: Sequence[Candidate], now_s: float) -> Candidate:
        """The one to answer, of at least one, given in the order in which they came; ties go to the newest.

        Its message says why it was chosen.
        """
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
        chosen = self.explain(picked, now_s, len(candidates))
        self._recent.append(picked.words)
        self._answered.append((picked.words, now_s))
        self._turns[_author(picked)] += 1
        if len(self._turns) > MAX_VIEWERS:
            self._turns = Counter(dict(self._turns.most_common(MAX_VIEWERS // 2)))
        return replace(picked, message=replace(picked.message, chosen=chosen))

    def _moment(self, candidate: Candidate, now_s: float) -> dict[str, float]:
        """What changes while a message waits: how new its words are, how fresh it is, how it was meant."""
        weights = self._settings
        known = max((likeness(candidate.words, words) for words in self._recent), default=0.0)
        age_s = max(0.0, now_s - candidate.message.received_s)
        kind = candidate.mood.scores["positive"] - candidate.mood.scores["negative"] if candidate.mood else 0.0
        return {
            "novelty": weights.novelty * (1 - known),
            "age": weights.age * math.exp(-age_s / weights.fresh_s),
            "mood": weights.mood * kind,
        }

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
