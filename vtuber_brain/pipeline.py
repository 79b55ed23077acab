"""The way of one message, readable as one function: `Pipeline.handle`. Many think side by side, one speaks (floor.py).

It decides nothing about sockets, processes or files: it is given rooms and calls them in order.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from vtuber_brain.cast import Cast
from vtuber_brain.chat.inbox import Inbox
from vtuber_brain.config import Settings
from vtuber_brain.context.heard import Heard
from vtuber_brain.context.memory import Memory, Recalled
from vtuber_brain.context.prompt import build, muse
from vtuber_brain.crowd import Crowd
from vtuber_brain.door import Door
from vtuber_brain.gate import Gate
from vtuber_brain.messages import ChatMessage, Drop, Incoming, Judged, Played, Retraction, Turn
from vtuber_brain.plugin_api import Recall
from vtuber_brain.publisher import Publisher
from vtuber_brain.replies import Mouth
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sentiment.judge import Judge
from vtuber_brain.silence import Silence
from vtuber_brain.thoughts import OUTDATED, Outdated, Thought

log = structlog.get_logger(__name__)

Prompt = Callable[[Recalled], list[dict[str, str]]]
"""The messages for the model, given what is remembered."""

_DROPS = {"muted": Drop.MUTED, "asleep": Drop.ASLEEP, "stopping": Drop.STOPPING}


class Pipeline:
    """Takes what sources deliver, and turns it into verdicts, utterances and turns."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        inbox: Inbox,
        judge: Judge,
        memory: Memory,
        cast: Cast,
        mouth: Mouth,
        publisher: Publisher,
        recalls: Sequence[Recall],
    ) -> None:
        self.muted = self.asleep = self.stopping = False
        self._settings, self._metrics, self._publisher, self._recalls = settings, metrics, publisher, recalls
        self._inbox, self._judge, self._memory, self._cast, self._mouth = inbox, judge, memory, cast, mouth
        self._thoughts: dict[str, Thought] = {}
        self._heard, self._musings = Heard(), itertools.count()
        self.door = Door(settings.sentiment, inbox, judge, publisher)
        self._crowd = Crowd(inbox, judge, metrics, settings.sentiment.sample_share)
        self._silence = Silence(settings.speech.idle_s, settings.speech.idle_times, now_s)

    @property
    def thoughts(self) -> list[Thought]:
        """The replies on their way."""
        return list(self._thoughts.values())

    @property
    def speaking(self) -> Thought | None:
        """The one that has the floor."""
        return self._mouth.speaking

    @property
    def gate(self) -> Gate:
        """What screens her sentences."""
        return self._mouth.gate

    async def receive(self, incoming: Incoming) -> None:
        """What a source delivers. Returns once it is stored; raises Unavailable, having taken it in, if it is not."""
        if isinstance(incoming, Retraction):
            await self._withdraw(self.retract(incoming), incoming)
            return
        self._metrics.received.labels(incoming.source).inc()
        self._silence.heard()
        try:
            await self._publisher.record(incoming)
        finally:
            if self.stopping:
                self._publisher.drop(incoming, Drop.STOPPING)
            else:
                self.door.take_in(incoming)

    async def run(self) -> None:
        """Think about messages as places become free, once somebody is on stage, until cancelled."""
        await self._cast.opened()
        places = asyncio.Semaphore(self._settings.speech.thinking)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._break_silences(group), name="silence")
            group.create_task(self._crowd.run(), name="crowd")
            while True:
                await places.acquire()
                self._begin(await self._inbox.take(), None, group, places.release)

    async def handle(self, thought: Thought) -> None:
        """The way of one message."""
        message = thought.message
        assert message is not None
        thought.verdict = verdict = await self.door.judge(message)
        self._mouth.note(thought, "judged")
        if verdict.mood is not None and message.kind == "chat":
            self._crowd.feel(message, verdict.mood, "judged")
        await self._publisher.publish(Judged(message, verdict))
        if verdict.action == "hold":
            self.door.hold(message, verdict)
        if verdict.action != "allow":
            return
        if (silent := self._silent()) is not None:
            self._publisher.drop(message, silent)
            return
        thought.facts = tuple(await self._recall(message))
        persona, facts, settings = thought.role.persona, thought.facts, self._settings.memory

        def prompt(recalled: Recalled) -> list[dict[str, str]]:
            return build(persona, recalled, facts, message, verdict.text, verdict.mood, settings)

        await self._answer(thought, prompt, replace(message, text=verdict.text))

    async def muse(self, thought: Thought) -> None:
        """She speaks on her own: nobody is answered, the rest of the way is the same."""
        persona, musing, settings = thought.role.persona, thought.musing, self._settings.memory
        assert musing is not None
        await self._answer(thought, lambda recalled: muse(persona, recalled, musing, settings), None)

    async def hear(self, reply_id: str, seq: int, played: Played) -> None:
        """What the player says it did with one sentence: memory and transcript keep what was heard (law 5)."""
        turn = self._heard.note(reply_id, seq, played)
        if turn is not None:
            self._memory.correct(turn)
            await self._publisher.record(turn)

    def retract(self, retraction: Retraction) -> list[Turn]:
        """Take words back wherever they are by now (law 3): waiting, being answered, remembered, in another's prompt.

        Returns the replies to them that are over, as retracted.
        """
        self.door.retract(retraction)
        for thought in list(self._thoughts.values()):
            if thought.message is not None and retraction.covers(thought.message):
                thought.stop("retracted", retraction.scope)
            elif thought.recalled is not None and thought.recalled.rests_on(retraction):
                thought.stop("cut" if thought.said else "failed", OUTDATED)
        over = self._heard.retract(retraction)
        self._memory.retract(retraction, [turn.message.text for turn in over if turn.message is not None])
        return over

    async def skip(self) -> bool:
        """Cut what sounds, which may be said already, else what is being said; False: nothing is there to cut."""
        if (sounding := self._heard.skip()) is not None:
            self._memory.correct(sounding)
            await self._publisher.withdraw(replace(sounding, outcome="cut", reason="skip"))
            if sounding.reason == "skip":  # in the books another than before
                await self._publisher.publish(sounding)
            return True
        if self._mouth.speaking is None:
            return False
        self._mouth.speaking.stop("cut", "skip")
        return True

    def mute(self) -> None:
        """Say nothing from now on; what is being thought or said ends at once."""
        self.muted = True
        self._stop_all("muted")

    def unmute(self) -> None:
        """Speak again, also after a pause."""
        self.muted = False
        self._mouth.gate.resume()

    async def sleep(self, patience_s: float) -> None:
        """Answer nobody until `wake`; running replies may end by themselves for `patience_s`, then they are cut."""
        self.asleep = True
        self.door.drain(Drop.ASLEEP)
        await self._finish(patience_s, "asleep")

    def end_stream(self) -> None:
        """Remember nothing of it: into the next stream she goes as whoever reads its transcript does (law 7)."""
        self._memory.clear()

    def wake(self) -> None:
        """Answer again."""
        self.asleep = False

    async def say(self, text: str) -> tuple[str, ...]:
        """Speak the operator's words before any reply that waits; returns why the gate did not let them, if so."""
        return await self._mouth.say(text, self._heard)

    async def drain(self, patience_s: float) -> None:
        """Begin nothing new; let running replies end by themselves for `patience_s`, then cut them."""
        self.stopping = True
        self.door.drain(Drop.STOPPING)
        await self._finish(patience_s, "stopping")

    async def _answer(self, thought: Thought, prompt: Prompt, cleaned: ChatMessage | None) -> None:
        """Have it said, and remember what was; what its prompt rests on may be taken back, then it is made anew."""
        ended: Turn | None = None
        while ended is None:
            thought.recalled = self._memory.recall(thought.message)
            thought.prompted_at = unix_s()
            with contextlib.suppress(Outdated):
                ended = await self._mouth.answer(thought, prompt(thought.recalled))
        turn = self._heard.close(ended, thought.said)
        self._inbox.said(turn.text)
        if turn.reason != OUTDATED:
            self._memory.remember(replace(turn, message=cleaned))
        await self._publisher.publish(turn)

    def _silent(self) -> Drop | None:
        """Why nothing is answered at present, if so."""
        if self.muted or self.asleep:
            return Drop.MUTED if self.muted else Drop.ASLEEP
        return Drop.PAUSED if self._mouth.gate.paused else None

    async def _withdraw(self, turns: Sequence[Turn], retraction: Retraction) -> None:
        """Tell who listens, who may still stop playing it; then write it down. Raises Unavailable if that fails."""
        for turn in turns:
            await self._publisher.withdraw(turn)
        await self._publisher.record(retraction, *turns)

    async def _break_silences(self, group: asyncio.TaskGroup) -> None:
        """Have her speak on her own when it has been quiet for long, if there is anything her persona says then."""
        if not self._settings.speech.idle_s:
            return
        while True:
            await self._silence.over()
            musings = self._cast.on_stage.persona.musings
            if musings and not (self._thoughts or self._silent() or self.stopping):
                self._silence.broken()
                self._begin(None, musings[next(self._musings) % len(musings)], group, lambda: None)

    def _begin(
        self, message: ChatMessage | None, musing: str | None, group: asyncio.TaskGroup, done: Callable[[], None]
    ) -> None:
        role = self._cast.enter()

        def end(task: asyncio.Task[None]) -> None:
            done()
            self._cast.leave(role)
            self._silence.spoke()
            del self._thoughts[thought.reply_id]
            self._metrics.thinking.set(len(self._thoughts))
            if message is not None and thought.ending is not None and task.cancelled():
                self._publisher.drop(message, _DROPS.get(thought.ending.reason, Drop.RETRACTED))

        since_s = message.received_s if message is not None else now_s()
        thought = Thought(message, role, since_s, musing, reply_id=self._mouth.new_id())
        thought.task = group.create_task(self._think(thought), name=f"thought-{thought.reply_id}")
        thought.task.add_done_callback(end)
        self._thoughts[thought.reply_id] = thought  # before its first step: between the two it could be taken back
        self._metrics.thinking.set(len(self._thoughts))

    async def _think(self, thought: Thought) -> None:
        """`handle` or `muse`, and what becomes of a message that breaks."""
        try:
            await (self.handle(thought) if thought.message is not None else self.muse(thought))
        except asyncio.CancelledError:
            if thought.ending is None:
                raise
            if thought.message is not None:
                self._publisher.drop(thought.message, _DROPS.get(thought.ending.reason, Drop.RETRACTED))
        except Exception:  # the boundary of one message
            self._metrics.errors.labels("message").inc()
            log.exception("message_failed", reply_id=thought.reply_id)

    async def _finish(self, patience_s: float, reason: str) -> None:
        tasks = [thought.task for thought in self._thoughts.values() if thought.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=patience_s)
            self._stop_all(reason)
            await asyncio.wait(tasks, timeout=1)

    def _stop_all(self, reason: str) -> None:
        for thought in list(self._thoughts.values()):
            thought.stop("cut" if thought.said else "failed", reason)

    async def _recall(self, message: ChatMessage) -> list[str]:
        """What plugins remember; one that is late is left out."""
        asked = [asyncio.create_task(_as_list(recall, message)) for recall in self._recalls]
        if not asked:
            return []
        done, late = await asyncio.wait(asked, timeout=self._settings.memory.recall_timeout_s)
        for task in late:
            task.cancel()
        return [fact for task in asked if task in done for fact in task.result()]


async def _as_list(recall: Recall, message: ChatMessage) -> list[str]:
    return list(await recall.recall(message))
