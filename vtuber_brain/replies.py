"""One reply, from its prompt to its last sentence: the model's words, cut, screened, and said in their turn.

Whatever ends it becomes the outcome of its turn; nothing here raises for what happens to a single reply.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace

import structlog

from vtuber_brain.canned import Canned, LineInstead
from vtuber_brain.cast import UNKNOWN_LORA, Cast
from vtuber_brain.context.heard import Heard
from vtuber_brain.engine.api import Engine, Request
from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.floor import Floor, Priority
from vtuber_brain.gate import Gate
from vtuber_brain.messages import CANNED, ChatMessage, Cue, Mood, Turn, Utterance
from vtuber_brain.publisher import Publisher
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SpeechSettings
from vtuber_brain.speech.stream import Line, Speech
from vtuber_brain.thoughts import OUTDATED, Outdated, Stopped, Thought, Withheld, new_reply_id

log = structlog.get_logger(__name__)

_ENGINE_PRIORITY = {Priority.CRITICAL: 1, Priority.HIGH: 1, Priority.NORMAL: 0, Priority.LOW: -1}
"""Of what waits for a slot the higher goes first."""


class Mouth:
    """What the cast answers with: many replies may be in the making, one of them holds the floor."""

    def __init__(
        self,
        cast: Cast,
        settings: SpeechSettings,
        metrics: Metrics,
        *,
        gate: Gate,
        engine: Engine,
        model: str,
        publisher: Publisher,
        new_id: Callable[[], str] = new_reply_id,
    ) -> None:
        self.new_id = new_id
        self.speaking: Thought | None = None
        self._cast, self._settings, self._metrics = cast, settings, metrics
        self.gate = gate
        self._engine, self._model, self._publisher = engine, model, publisher
        self._floor = Floor()
        self._canned = Canned(settings.canned_every_s, now_s)

    async def answer(self, thought: Thought, prompt: list[dict[str, str]]) -> Turn:
        """Think and speak; whatever ends it becomes the turn's outcome. After it, the thought cannot be stopped.

        Raises Outdated when words of the prompt were taken back before anything was said.
        """
        ended = Stopped("spoken", "")
        try:
            await self._speak_or_stand_in(thought, prompt)
        except Stopped as stopped:
            ended = stopped
        except RequestFailed as failure:
            ended = Stopped("failed", failure.code)
        except EngineDown:
            ended = Stopped("failed", "engine_down")
        except asyncio.CancelledError:
            if thought.ending is None or thought.task is None:
                raise
            thought.task.uncancel()
            if thought.ending.reason == OUTDATED and not thought.said:
                thought.ending = None
                raise Outdated from None
            ended = thought.ending
        thought.over = True
        self.note(thought, "ended")
        self._metrics.replies.labels(ended.outcome).inc()
        fields = {"outcome": ended.outcome, "reason": ended.reason, **thought.timings_ms}
        log.info("reply_ended", reply_id=thought.reply_id, **fields)
        return self._turn(thought, ended)

    async def say(self, text: str, heard: Heard) -> tuple[str, ...]:
        """Speak somebody's words before any reply that waits; returns why the gate did not let them pass, if so.

        `heard` is told of them, so that they can be skipped.
        """
        thought = Thought(None, self._cast.on_stage, now_s(), reply_id=self.new_id())
        reasons, mood = await self.gate.allows(text, thought.role)
        if not reasons:
            said = replace(self._utterance(thought, Line(text, None), mood, final=True), cue=None)
            async with self._floor.held(Priority.HIGH):
                await self._publisher.publish(said)
            thought.said.append(text)
            heard.own(self._turn(thought, Stopped("spoken", "")))
        return reasons

    async def _speak_or_stand_in(self, thought: Thought, prompt: list[dict[str, str]]) -> None:
        """Where the gate kept a sentence back, or there is no engine, a line of the persona's is tried at the gate."""
        try:
            await self._speak_or_retry(thought, prompt)
        except Withheld:
            if thought.role.persona.safe_lines:
                thought.standing_in = True
                with contextlib.suppress(Stopped):
                    await self._speak(thought, self._safe_words(thought))
            raise
        except EngineDown as down:
            line = down.line if isinstance(down, LineInstead) else self._canned.take(thought.role.persona)
            if thought.said or line is None:
                raise
            thought.standing_in = True
            await self._speak(thought, _written(line))
            raise Stopped("failed", CANNED) from None

    async def _speak_or_retry(self, thought: Thought, prompt: list[dict[str, str]]) -> None:
        """Ask once more when the engine dies, or has lost the lora, before anything was said; wait while it starts."""
        for is_last in (False, True):
            await self._in_time(thought, lambda: self._canned.until_ready(self._engine, thought.role.persona))
            try:
                await self._speak(thought, self._words(thought, prompt))
            except EngineDown:
                if is_last or thought.said:
                    raise
            except RequestFailed as failure:
                if is_last or failure.code != UNKNOWN_LORA:
                    raise
                thought.role = self._cast.without_lora(thought.role, failure.detail)
            else:
                return

    async def _speak(self, thought: Thought, words: AsyncGenerator[str, None]) -> None:
        """Sentence by sentence as the words come; the floor is taken with the first and kept to the last."""
        speech = Speech(thought.role.persona.cues.names, self._settings.max_sentence_chars)
        async with contextlib.AsyncExitStack() as floor, contextlib.aclosing(words):
            async for piece in words:
                for line in speech.feed(piece):
                    await self._say(thought, line, floor)
                    if len(thought.said) == self._settings.max_sentences:
                        return
            rest = speech.flush()
            if thought.out_of_tokens and thought.said and rest and _is_unfinished(rest[-1].text):
                rest.pop()  # half a sentence is worse than none
            for line in rest:
                await self._say(thought, line, floor, final=line is rest[-1])
        if not thought.said:
            raise Stopped("failed", "empty")

    async def _words(self, thought: Thought, prompt: list[dict[str, str]]) -> AsyncGenerator[str, None]:
        persona = thought.role.persona
        request = Request(
            prompt,
            persona.style.max_tokens,
            Sampling(**persona.sampling.model_dump()),
            persona.stop,
            lora=thought.role.lora,
            priority=_ENGINE_PRIORITY[self._priority(thought.message)],
        )
        async with contextlib.aclosing(self._engine.generate(request)) as stream:
            async for piece in stream:
                if isinstance(piece, Done):
                    thought.timings_ms["engine_first_token"] = round(piece.usage.first_token_ms, 1)
                    thought.out_of_tokens = piece.finish_reason == "length"
                else:
                    self.note(thought, "first_token")
                    yield piece

    def _safe_words(self, thought: Thought) -> AsyncGenerator[str, None]:
        lines = thought.role.persona.safe_lines
        return _written(lines[int(thought.reply_id, 16) % len(lines)])

    async def _say(
        self, thought: Thought, line: Line, floor: contextlib.AsyncExitStack, *, final: bool = False
    ) -> None:
        """One sentence: screened, in its turn, published. Raises Withheld if the gate keeps it back, or Stopped."""
        if thought.making_way:
            raise Stopped("cut", "interrupted")
        mood = await self.gate.screen(thought, line.text) if line.text else None
        if self.speaking is not thought:
            self.note(thought, "first_sentence")
            await self._in_time(thought, lambda: floor.enter_async_context(self._mouth(thought)))
            self.note(thought, "floor")
        if line.text:
            final = final or len(thought.said) + 1 == self._settings.max_sentences
            await self._publisher.publish(self._utterance(thought, line, mood, final=final))
            self._metrics.utterances.inc()
            thought.said.append(line.written)
            thought.last_sentence = line.text
        elif line.cue is not None:
            await self._publisher.publish(line.cue)

    @contextlib.asynccontextmanager
    async def _mouth(self, thought: Thought) -> AsyncIterator[None]:
        priority = self._priority(thought.message)
        if self.speaking is not None:
            self._interrupt(self.speaking, priority)
        async with self._floor.held(priority):
            self.speaking = thought
            try:
                yield
            finally:
                self.speaking = None

    def _priority(self, message: ChatMessage | None) -> Priority:
        if message is None:
            return Priority.LOW
        if message.worth >= self._settings.interrupt_worth:
            return Priority.CRITICAL
        return Priority.HIGH if message.is_money else Priority.NORMAL

    def _interrupt(self, speaking: Thought, priority: Priority) -> None:
        """Have the running reply make way for something critical, and what she says on her own for anything."""
        running = self._priority(speaking.message)
        if running is Priority.LOW:
            speaking.making_way = True
        if priority is not Priority.CRITICAL or running is Priority.CRITICAL or self._settings.interrupt == "never":
            return
        if self._settings.interrupt == "at_once":
            speaking.stop("cut", "interrupted")
        speaking.making_way = True

    async def _in_time(self, thought: Thought, step: Callable[[], Awaitable[object]]) -> None:
        """Wait for a step until the reply is stale: fresh beats complete."""
        deadline_s = thought.since_s + self._settings.stale_s
        if now_s() > deadline_s:
            raise Stopped("failed", "stale")
        try:
            async with asyncio.timeout_at(deadline_s):
                await step()
        except TimeoutError:
            raise Stopped("failed", "stale") from None

    def note(self, thought: Thought, stage: str) -> None:
        """Remember how long after its arrival the message reached a stage for the first time."""
        if stage not in thought.timings_ms:
            passed_s = now_s() - thought.since_s
            thought.timings_ms[stage] = round(passed_s * 1000, 1)
            self._metrics.stage.labels(stage).observe(passed_s)

    def _utterance(self, thought: Thought, line: Line, mood: Mood | None, *, final: bool) -> Utterance:
        return Utterance(
            reply_id=thought.reply_id,
            seq=len(thought.said),
            text=line.text,
            cue=line.cue or self._default_cue(thought),
            mood=mood.sentiment if mood is not None else None,
            lang=thought.role.persona.language,
            final=final,
            in_reply_to=thought.message,
            created_at=unix_s(),
            persona=thought.role.persona.name,
            release=thought.role.release,
        )

    def _default_cue(self, thought: Thought) -> Cue | None:
        cues, mood = thought.role.persona.cues, thought.verdict.mood if thought.verdict is not None else None
        default = (cues.moods.get(mood.sentiment) if mood is not None else None) or cues.default
        return Cue(default) if default is not None and not thought.said else None

    def _turn(self, thought: Thought, ended: Stopped) -> Turn:
        said = " ".join(thought.said)
        return Turn(
            reply_id=thought.reply_id,
            message=thought.message,
            outcome=ended.outcome,
            text=said,
            heard_text=said,
            persona=thought.role.persona.name,
            model=self._model,
            release=thought.role.release,
            reason=ended.reason or None,
            timings_ms=thought.timings_ms,
            musing=thought.musing,
            facts=thought.facts,
            prompted_at=thought.prompted_at,
        )


async def _written(line: str) -> AsyncGenerator[str, None]:
    yield line


def _is_unfinished(sentence: str) -> bool:
    return sentence[-1:].isalnum() or sentence[-1:] in {",", ";", ":", "-", "'"}
