"""What her model is to show at a moment: mouth, smile, moods and cues, by what is said and heard. Pure.

It is told events, and curves by the voice; it is asked for values and steps. It sends nothing.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vtuber_brain.plugin_api import Cue, Event, Playback, Status, Turn, Utterance

from .mapping import Action, Moves
from .mouth import Curve, from_text

MAX_SENTENCES = 64
"""Sentences known and not heard to their end; the oldest is forgotten, and her mouth stays shut in it."""

MAX_STEPS = 32
"""Steps waiting to be sent; the oldest is left out: a cue that comes late is no cue."""

MAX_LATE_S = 1.0
"""By how much a player's clock is believed when it says that a sentence began earlier."""

MOOD_LASTS_S = 4.0
"""How long a mood stays on her face after the last word."""

Key = tuple[str, int]


@dataclass(slots=True)
class _Sentence:
    text: str | None = None
    mood: str | None = None
    cue: Cue | None = None
    curve: Curve | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do in VTube Studio: begin showing an action, or end it."""

    action: Action
    begin: bool


@dataclass
class Performance:
    """One model's. Times are of one monotonic clock, in seconds."""

    moves: Moves
    clock: Callable[[], float] = time.monotonic
    unix: Callable[[], float] = time.time
    on_change: Callable[[], None] = lambda: None
    _sentences: OrderedDict[Key, _Sentence] = field(default_factory=OrderedDict)
    _playing: Key | None = None
    _started_s: float = 0.0
    _muted: bool = False
    _mood: str = "neutral"
    _mood_ends_s: float | None = None
    _shown: Action | None = None
    _ends_s: dict[str, tuple[float, Action]] = field(default_factory=dict)
    _steps: list[Step] = field(default_factory=list)

    @property
    def speaking(self) -> bool:
        """Whether a sentence is being heard."""
        return self._playing is not None

    def hear(self, event: Event) -> None:
        """Take one event of the brain's."""
        match event:
            case Utterance():
                self._learn(event)
            case Playback(state="started"):
                self._begin((event.reply_id, event.seq), event.at)
            case Playback():
                self._end((event.reply_id, event.seq))
            case Turn() if event.ends_at_once:
                self.skip(event.reply_id)
            case Cue():
                self._show(event)
            case Status():
                self._muted = event.muted
                if event.muted:
                    self.silence()
            case _:
                return
        self.on_change()

    def learn_curve(self, reply_id: str, seq: int, curve: Curve) -> None:
        """The voice has told how the mouth of a sentence goes."""
        self._sentence((reply_id, seq)).curve = curve

    def skip(self, reply_id: str) -> None:
        """Nothing more of a reply is heard."""
        for key in [key for key in self._sentences if key[0] == reply_id]:
            del self._sentences[key]
        if self._playing is not None and self._playing[0] == reply_id:
            self._close()

    def silence(self) -> None:
        """Nothing more is heard of what was said until now."""
        self._sentences.clear()
        self._close()

    def mouth(self) -> tuple[float, str]:
        """How open it is at present, 0 to 1, and its vowel."""
        if self._playing is None:
            return 0.0, "_"
        sentence = self._sentences.get(self._playing)
        curve = sentence.curve if sentence is not None else None
        return curve.at(self.clock() - self._started_s) if curve is not None else (0.0, "_")

    def smile(self) -> float:
        """How much she smiles at present, 0 to 1."""
        return self.moves.smiles[self._mood]

    def steps(self) -> Iterator[Step]:
        """What is due, each step once."""
        now_s = self.clock()
        if self._mood_ends_s is not None and now_s >= self._mood_ends_s:
            self._feel("neutral")
        for name, (end_s, action) in list(self._ends_s.items()):
            if now_s >= end_s:
                del self._ends_s[name]
                self._put(Step(action, begin=False))
        due, self._steps = self._steps, []
        yield from due

    def next_due_s(self) -> float | None:
        """When the next step is due, if one is known."""
        times = [end_s for end_s, _ in self._ends_s.values()]
        if self._mood_ends_s is not None:
            times.append(self._mood_ends_s)
        return self.clock() if self._steps else min(times, default=None)

    def begin_anew(self) -> None:
        """The model shows nothing of ours: it was loaded a moment ago, or the connection is new."""
        self._steps.clear()
        self._ends_s.clear()
        self._shown = None
        self._feel(self._mood)

    def use(self, moves: Moves) -> None:
        """Show by other moves from now on; what is shown by the old ones ends."""
        for _, action in self._ends_s.values():
            self._put(Step(action, begin=False))
        self._ends_s.clear()
        mood, self._mood = self._mood, "neutral"
        if self._shown is not None and self._shown.has_end:
            self._put(Step(self._shown, begin=False))
        self._shown = None
        self.moves = moves
        self._feel(mood)
        self.on_change()

    def _learn(self, said: Utterance) -> None:
        sentence = self._sentence((said.reply_id, said.seq))
        sentence.text, sentence.mood, sentence.cue = said.text, said.mood, said.cue
        sentence.curve = sentence.curve or from_text(said.text)
        if self._playing == (said.reply_id, said.seq):  # the player was faster than the news of the sentence
            self._express(sentence)

    def _sentence(self, key: Key) -> _Sentence:
        sentence = self._sentences.setdefault(key, _Sentence())
        while len(self._sentences) > MAX_SENTENCES:
            self._sentences.popitem(last=False)
        return sentence

    def _begin(self, key: Key, at: float) -> None:
        if self._muted:
            return
        self._playing = key
        self._started_s = self.clock() - min(MAX_LATE_S, max(0.0, self.unix() - at))
        self._mood_ends_s = None
        if (sentence := self._sentences.get(key)) is not None:
            self._express(sentence)

    def _express(self, sentence: _Sentence) -> None:
        self._feel(sentence.mood or "neutral")
        if sentence.cue is not None:
            self._show(sentence.cue)

    def _end(self, key: Key) -> None:
        self._sentences.pop(key, None)
        if self._playing == key:
            self._close()

    def _close(self) -> None:
        if self._playing is not None:
            self._playing = None
            self._mood_ends_s = self.clock() + MOOD_LASTS_S

    def _feel(self, mood: str) -> None:
        self._mood, self._mood_ends_s = mood, None
        wanted = self.moves.moods.get(mood)
        if wanted == self._shown:
            return
        if self._shown is not None and self._shown.has_end:
            self._put(Step(self._shown, begin=False))
        if wanted is not None:
            self._put(Step(wanted, begin=True))
        self._shown = wanted

    def _show(self, cue: Cue) -> None:
        action = self.moves.cues.get(cue.name)
        if action is None:
            return
        if cue.name not in self._ends_s:
            self._put(Step(action, begin=True))
        if action.has_end:
            self._ends_s[cue.name] = self.clock() + cue.for_ms / 1000, action

    def _put(self, step: Step) -> None:
        self._steps.append(step)
        del self._steps[:-MAX_STEPS]


class Audience:
    """The sink: it hands events to the performance, and waits for nothing."""

    name = "audience"

    def __init__(self, performance: Performance) -> None:
        self._performance = performance

    async def emit(self, event: Event) -> None:
        """Take one event."""
        self._performance.hear(event)
