"""The way of one message, readable as one function: `Pipeline.handle`. Many think side by side, one speaks (floor.py).

It decides nothing about sockets, processes or files: it is given rooms and calls them in order.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from vtuber_brain.cast import Cast
from vtuber_brain.chat.inbox import Inbox
from vtuber_brain.config import Settings
from vtuber_brain.context.heard import Heard, Played
from vtuber_brain.context.memory import Memory
from vtuber_brain.context.prompt import build
from vtuber_brain.messages import ChatMessage, Drop, Incoming, Judged, Retraction, Verdict
from vtuber_brain.plugin_api import Recall
from vtuber_brain.publisher import Publisher
from vtuber_brain.replies import Mouth
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sentiment.judge import Judge
from vtuber_brain.thoughts import Thought

log = structlog.get_logger(__name__)

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
        self._settings, self._metrics = settings, metrics
        self._inbox, self._judge, self._memory, self._cast, self._mouth = inbox, judge, memory, cast, mouth
        self._publisher, self._recalls = publisher, recalls
        self._thoughts: dict[str, Thought] = {}
        self._heard = Heard()

    async def receive(self, incoming: Incoming) -> None:
        """What a source delivers. Returns once it is stored; raises Unavailable, having taken it in, if it is not."""
        if isinstance(incoming, Retraction):
            self.retract(incoming)
            await self._publisher.record(incoming)
            return
        self._metrics.received.labels(incoming.source).inc()
        try:
            await self._publisher.record(incoming)
        finally:
            self._take_in(incoming)

    async def run(self) -> None:
        """Think about messages as places become free, once somebody is on stage, until cancelled."""
        await self._cast.opened()
        places = asyncio.Semaphore(self._settings.speech.thinking)
        async with asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                self._begin(await self._inbox.take(), group, places)

    async def handle(self, thought: Thought) -> None:
        """The way of one message."""
        message = thought.message
        thought.verdict = verdict = await self._judge.message(message)
        self._mouth.note(thought, "judged")
        await self._publisher.publish(Judged(message, verdict))
        if verdict.action == "deny":
            return
        if self.muted or self.asleep:
            self._publisher.drop(message, Drop.MUTED if self.muted else Drop.ASLEEP)
            return
        facts = await self._recall(message)
        recalled = self._memory.recall(message)
        prompt = build(
            thought.role.persona, recalled, facts, message, verdict.text, verdict.mood, self._settings.memory
        )
        turn = self._heard.close(await self._mouth.answer(thought, prompt), thought.said)
        self._inbox.said(turn.text)
        self._memory.remember(replace(turn, message=replace(message, text=verdict.text)))
        await self._publisher.publish(turn)

    async def hear(self, reply_id: str, seq: int, played: Played) -> None:
        """What the player says it did with one sentence: memory and transcript keep what was heard (law 5)."""
        turn = self._heard.note(reply_id, seq, played)
        if turn is not None:
            self._memory.correct(turn)
            await self._publisher.record(turn)

    def retract(self, retraction: Retraction) -> None:
        """Take words back wherever they are by now (law 3): waiting, being answered, remembered."""
        self._inbox.retract(retraction)
        for thought in list(self._thoughts.values()):
            if retraction.covers(thought.message):
                thought.stop("retracted", retraction.scope)
        self._memory.retract(retraction)

    def skip(self) -> bool:
        """Cut the reply that is being spoken; False when nobody speaks."""
        if self._mouth.speaking is None:
            return False
        self._mouth.speaking.stop("cut", "skip")
        return True

    def mute(self) -> None:
        """Say nothing from now on; what is being thought or said ends at once."""
        self.muted = True
        self._stop_all("muted")

    def unmute(self) -> None:
        """Speak again."""
        self.muted = False

    async def sleep(self, patience_s: float) -> None:
        """Answer nobody until `wake`; running replies may end by themselves for `patience_s`, then they are cut."""
        self.asleep = True
        self._inbox.drain(Drop.ASLEEP)
        await self._finish(patience_s, "asleep")

    def wake(self) -> None:
        """Answer again."""
        self.asleep = False

    async def say(self, text: str) -> Verdict:
        """Speak the operator's words before any reply that waits; they pass the same gate as the model's."""
        return await self._mouth.say(text)

    async def drain(self, patience_s: float) -> None:
        """Begin nothing new; let running replies end by themselves for `patience_s`, then cut them."""
        self.stopping = True
        self._inbox.drain(Drop.STOPPING)
        await self._finish(patience_s, "stopping")

    def _begin(self, message: ChatMessage, group: asyncio.TaskGroup, places: asyncio.Semaphore) -> None:
        role = self._cast.enter()

        def end(_: asyncio.Task[None]) -> None:
            places.release()
            self._cast.leave(role)

        thought = Thought(message, role)
        thought.task = group.create_task(self._think(thought), name=f"thought-{thought.reply_id}")
        thought.task.add_done_callback(end)

    def _take_in(self, message: ChatMessage) -> None:
        """Into the inbox; what the rules deny is told so at once, and crowds out nobody who waits."""
        if self.stopping:
            self._publisher.drop(message, Drop.STOPPING)
        elif self._inbox.admit(message) is None:
            verdict = self._judge.by_rules(message)
            if verdict.action == "deny":
                self._publisher.later(Judged(message, verdict))
            else:
                self._inbox.put(message)

    async def _think(self, thought: Thought) -> None:
        """`handle`, and what becomes of a message when it is stopped from outside or breaks."""
        self._thoughts[thought.reply_id] = thought
        self._metrics.thinking.set(len(self._thoughts))
        try:
            await self.handle(thought)
        except asyncio.CancelledError:
            if thought.ending is None:
                raise
            self._publisher.drop(thought.message, _DROPS.get(thought.ending.reason, Drop.RETRACTED))
        except Exception:  # the boundary of one message
            self._metrics.errors.labels("message").inc()
            log.exception("message_failed", reply_id=thought.reply_id)
        finally:
            del self._thoughts[thought.reply_id]
            self._metrics.thinking.set(len(self._thoughts))

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
