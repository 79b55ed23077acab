"""What she was asked, built again from the transcript: the real memory is led through a stream's turns once more.

What nobody may learn from, words taken back and viewers who are forgotten, unwilling or banned, is left out before
that, so that every prompt is as if it had never been written. Where nothing was left out, a prompt is the very one she
was asked. It decides nothing about whether a reply is good.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from pydantic import ValidationError

from vtuber_brain.context.memory import Memory, Recalled
from vtuber_brain.context.personas import Persona
from vtuber_brain.context.prompt import build, muse, opening
from vtuber_brain.messages import ChatMessage, Outcome, Turn
from vtuber_brain.retrain.consent import QUOTES, Left, filtered, unheard, why_filtered
from vtuber_brain.retrain.conversations import Message, Role
from vtuber_brain.sections import MemorySettings
from vtuber_brain.transcripts.past import Hearing, Key, Past, Rating, Said, Stream

OUTDATED = "outdated"
"""The reason of a turn that memory does not take in, for words of its prompt were taken back meanwhile."""

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One turn with what she was asked, her opening left out; the last message of `prompt` is the one she answers.

    `past` names the replies among the prompt, oldest first; `viewers` (`source:id`) wrote something in it and `viewer`
    (None: nobody, she spoke on her own) is answered. `heard_text` is what was heard in the end. Times are Unix seconds;
    `toxicity` is the worst of the messages in the prompt.
    """

    stream: int
    reply_id: str
    at: float
    prompt: tuple[Message, ...]
    past: tuple[str, ...]
    viewer: str | None
    viewers: frozenset[str]
    outcome: Outcome
    reason: str | None
    text: str
    heard_text: str
    first_said_at: float
    ended_at: float
    rating: Rating | None
    toxicity: float

    @property
    def id(self) -> str:
        """The stream and the reply."""
        return f"{self.stream}/{self.reply_id}"


@dataclass(frozen=True, slots=True)
class Feeling:
    """How one viewer sounded at `at`: the probability of a positive mood less that of a negative one, -1 to 1."""

    viewer: str
    at: float
    warmth: float


@dataclass(frozen=True, slots=True)
class Replayed:
    """One stream's turns in the order in which they were asked, what was left out, and how the audience felt."""

    stream: int
    asked: tuple[Asked, ...]
    left: tuple[Left, ...]
    feelings: tuple[Feeling, ...]


def span(streams: Iterable[Replayed]) -> tuple[float, float] | None:
    """When the first of their turns was asked and the last one ended (Unix time, s); None: there is none."""
    every = [asked for stream in streams for asked in stream.asked]
    return (min(one.at for one in every), max(one.ended_at for one in every)) if every else None


def replay(stream: Stream, persona: Persona, assumed: MemorySettings) -> Replayed:
    """Every turn of `persona` in the stream. `assumed` are the settings of streams that did not note theirs."""
    settings = _settings(stream, assumed)
    reasons = filtered(stream, persona)
    kept = [unheard(turn) if reasons.get(turn.reply_id) == QUOTES else turn for turn in stream.turns]
    kept = [turn for turn in kept if reasons.get(turn.reply_id) in (None, QUOTES)]
    if settings is None or _is_out_of_order(kept):
        unknown = "clock_stepped" if settings is not None else "settings_unknown"
        reasons = dict.fromkeys([turn.reply_id for turn in kept], unknown) | reasons
        kept, settings = [], assumed
    asked = [one for one in _Replay(stream, persona, settings).run(kept) if one.reply_id not in reasons]
    found = {one.reply_id for one in asked}
    for turn in kept:
        if turn.reply_id not in found and turn.reply_id not in reasons:
            reasons[turn.reply_id] = "other_persona" if turn.persona != persona.name else "no_prompt"
    left = tuple(
        Left(f"{stream.id}/{turn.reply_id}", reasons[turn.reply_id])
        for turn in stream.turns
        if turn.reply_id in reasons
    )
    return Replayed(stream.id, tuple(asked), left, tuple(_feelings(stream)))


@dataclass(slots=True)
class _Replay:
    """The memory as it went through one stream."""

    stream: Stream
    persona: Persona
    settings: MemorySettings
    memory: Memory = field(init=False)
    answered: dict[str, Said] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory = Memory(self.settings)

    def run(self, turns: Sequence[Past]) -> Iterator[Asked]:
        """Ask and end, each at its time."""
        for turn in turns:
            if turn.message is not None:
                self.answered[turn.reply_id] = self.stream.said[turn.message]
        for _, _, _, turn, hearing in sorted(_events(turns), key=lambda event: event[:3]):
            if hearing is not None:
                self._hear(turn, hearing)
            elif turn.persona == self.persona.name:
                yield self._ask(turn)
            else:
                self.memory.recall(self._message(turn))

    def _hear(self, turn: Past, hearing: Hearing) -> None:
        message = self._message(turn)
        said = self.answered.get(turn.reply_id)
        if message is not None and said is not None and said.let_through is not None:
            message = replace(message, text=said.let_through.text)
        ended = Turn(
            turn.reply_id,
            message,
            hearing.outcome,
            turn.text,
            hearing.heard_text,
            turn.persona,
            model="",
            release=turn.release,
            reason=hearing.reason,
            musing=turn.musing,
        )
        if hearing is not turn.hearings[0]:
            self.memory.correct(ended)
        elif hearing.reason != OUTDATED:
            self.memory.remember(ended)

    def _ask(self, turn: Past) -> Asked:
        message = self._message(turn)
        recalled = self.memory.recall(message)
        prompt = self._prompt(turn, message, recalled)[len(opening(self.persona)) :]
        exchanges = recalled.exchanges[len(recalled.exchanges) - (len(prompt) - 1) // 2 :]
        heard = [self.answered[one.reply_id] for one in exchanges if one.reply_id in self.answered]
        own = self.answered.get(turn.reply_id)
        there = [*heard, own] if own is not None else heard
        last = turn.hearings[-1]
        assert turn.prompted_at is not None
        return Asked(
            stream=self.stream.id,
            reply_id=turn.reply_id,
            at=turn.prompted_at,
            prompt=tuple(Message(_ROLES[part["role"]], part["content"]) for part in prompt),
            past=tuple(one.reply_id for one in exchanges),
            viewer=_name(own.viewer) if own is not None else None,
            viewers=frozenset(_name(said.viewer) for said in there),
            outcome=last.outcome,
            reason=last.reason,
            text=turn.text,
            heard_text=last.heard_text,
            first_said_at=turn.first_said_at if turn.first_said_at is not None else turn.hearings[0].at,
            ended_at=turn.hearings[0].at,
            rating=turn.rating,
            toxicity=max((_toxicity(said) for said in there), default=0.0),
        )

    def _prompt(self, turn: Past, message: ChatMessage | None, recalled: Recalled) -> list[dict[str, str]]:
        if message is None:
            return muse(self.persona, recalled, turn.musing or "", self.settings)
        verdict = self.answered[turn.reply_id].let_through
        assert verdict is not None
        return build(self.persona, recalled, turn.facts, message, verdict.text, verdict.mood, self.settings)

    def _message(self, turn: Past) -> ChatMessage | None:
        """The message as it was answered: several may have become one meanwhile."""
        said = self.answered.get(turn.reply_id)
        if said is None:
            return None
        amount = turn.amount if turn.amount is not None else said.message.amount
        return replace(said.message, amount=amount, num_asking=turn.num_asking)


def _events(turns: Sequence[Past]) -> Iterator[tuple[float, int, int, Past, Hearing | None]]:
    for turn in turns:
        if turn.prompted_at is not None:
            yield turn.prompted_at, 1, turn.number, turn, None
        for hearing in turn.hearings:
            yield hearing.at, 0, turn.number, turn, hearing


def _feelings(stream: Stream) -> Iterator[Feeling]:
    for said in stream.said.values():
        verdict = said.let_through
        if verdict is not None and verdict.mood is not None and why_filtered(stream, said) is None:
            scores = verdict.mood.scores
            warmth = scores.get("positive", 0.0) - scores.get("negative", 0.0)
            yield Feeling(_name(said.viewer), said.message.at, warmth)


def _settings(stream: Stream, assumed: MemorySettings) -> MemorySettings | None:
    if stream.memory is None:
        return assumed
    try:
        return MemorySettings.model_validate_json(stream.memory)
    except ValidationError:
        return None


def _is_out_of_order(turns: Sequence[Past]) -> bool:
    """Whether the clock went back while the stream ran, so that nobody knows what came before what."""
    ends = [turn.hearings[0].at for turn in turns if turn.hearings]
    return any(later < earlier for earlier, later in pairwise(ends))


def _toxicity(said: Said) -> float:
    mood = said.let_through.mood if said.let_through is not None else None
    return mood.toxicity or 0.0 if mood is not None else 0.0


def _name(viewer: Key) -> str:
    return ":".join(viewer)
