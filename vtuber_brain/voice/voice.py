"""The voice put together: what the bus says goes in, sentences become sound ahead of time, one output plays them, and
what was played is told. It decides nothing itself: `Queue` does.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

import structlog

from vtuber_brain.bus.control import Control, Mute, Skip, Unmute
from vtuber_brain.bus.topics import CuePayload, Playback, ReplyPayload, Status, UtterancePayload
from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.messages import CUT_AT_ONCE
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.voice.output import Output
from vtuber_brain.voice.queue import Fate, Key, Played, Queue
from vtuber_brain.voice.synthesis import Made, Synthesis
from vtuber_brain.voice_sections import VoiceSettings

log = structlog.get_logger(__name__)

TICK_S = 0.25
TWIN_S = 1.0
MAX_SKEW_S = 5.0
"""A player's clock that is further off than this is not believed."""


class Voice:
    """One persona's voice. `publish` takes the acknowledgements and never waits."""

    def __init__(
        self, settings: VoiceSettings, synthesis: Synthesis, output: Output, publish: Callable[[Playback], None]
    ) -> None:
        self.queue = Queue(settings.queue, settings.ahead, settings.late_s, settings.patience_s)
        self._synthesis, self._output, self._publish = synthesis, output, publish
        self._changed = asyncio.Event()
        self._making: tuple[Key, asyncio.Task[Made]] | None = None
        self._unheard = self._was_heard = False
        self._shown_later: tuple[CuePayload | None, float] = None, 0.0

    async def run(self) -> None:
        """Speak until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._output.run(self), name="voice-output")
            group.create_task(self._make_all(), name="voice-make")
            group.create_task(self._watch(), name="voice-clock")

    def utterance(self, said: UtterancePayload) -> None:
        """A sentence is to be spoken."""
        self._shown_later = said.cue, now_s()
        self._settle(self.queue.add(said, now_s()))

    def reply(self, ended: ReplyPayload) -> None:
        """A reply is over; if it was taken back or cut, so is what is left of it here."""
        if ended.outcome == "retracted":
            self._drop(ended.reply_id, "retracted")
        elif ended.outcome == "cut" and ended.reason in CUT_AT_ONCE:
            self._drop(ended.reply_id, "cut")

    def cue(self, shown: CuePayload) -> None:
        """An expression or motion; that of a sentence, which the bus sends right after it, is shown with its sound."""
        later, at_s = self._shown_later
        self._shown_later = None, 0.0
        if shown != later or now_s() - at_s > TWIN_S:
            self._output.cue(shown)

    def status(self, how: Status) -> None:
        """How the brain is: while it is muted nothing is said."""
        if how.state == "muted":
            self._mute()
        elif how.state != "offline":  # a daemon that is lost has not said that she may speak
            self.queue.unmute()
        self._output.status(how)

    def control(self, command: Control) -> None:
        """What the operator orders over the bus is heard here too, for it is to be obeyed at once."""
        match command:
            case Mute():
                self._mute()
            case Unmute():
                self.queue.unmute()
            case Skip():
                if (reply_id := self.queue.speaking) is not None:
                    self._drop(reply_id, "skip")

    def played(self, key: Key, state: Played, at: float) -> None:
        """What the output says of a sentence."""
        self._settle(self.queue.played(key, state, now_s()), at)

    def lost(self, why: str, keep: frozenset[Key] = frozenset()) -> None:
        """Whoever played is gone."""
        self._settle(self.queue.lose(why, now_s(), keep=keep))

    def silence(self) -> None:
        """Say no more, and tell that: the process ends."""
        self._mute()

    def _mute(self) -> None:
        self._output.stop()
        self._settle(self.queue.mute(now_s()))

    def _drop(self, reply_id: str, why: str) -> None:
        self._output.skip(reply_id, is_retracted=why == "retracted")
        self._settle(self.queue.skip(reply_id, why, now_s()))

    async def _make_all(self) -> None:
        while True:
            self._changed.clear()
            sentence = self.queue.take()
            if sentence is None:
                await self._changed.wait()
            elif self._is_heard():
                await self._make(sentence)
            else:
                self._settle(self.queue.failed((sentence.reply_id, sentence.seq), "unheard", now_s()))

    async def _make(self, sentence: UtterancePayload) -> None:
        """One sentence into sound and to the output, unless it is dropped meanwhile."""
        key = (sentence.reply_id, sentence.seq)
        making = asyncio.create_task(
            self._synthesis.make(sentence.text, sentence.lang, sentence.persona), name="voice-synthesis"
        )
        self._making = key, making
        try:
            await asyncio.wait({making})
        finally:
            self._making = None
            making.cancel()
            with contextlib.suppress(asyncio.CancelledError, EngineDown, RequestFailed):
                await making
        if not making.cancelled():
            self._give(sentence, making)

    def _give(self, sentence: UtterancePayload, making: "asyncio.Task[Made]") -> None:
        key = (sentence.reply_id, sentence.seq)
        try:
            made = making.result()
        except RequestFailed as failure:
            self._settle(self.queue.failed(key, failure.code, now_s()))
        except EngineDown:
            self._settle(self.queue.failed(key, "engine_down", now_s()))
        else:
            times = {"took_ms": round(1000 * made.took_s, 1), "sound_ms": round(1000 * made.clip.duration_s)}
            log.info("sentence_made", reply_id=key[0], seq=key[1], engine=made.engine, **times)
            if not self.queue.made(key, made.clip.duration_s, now_s()):
                return
            if self._is_heard():
                self._output.give(sentence, made.clip)
            else:
                self._settle(self.queue.failed(key, "unheard", now_s()))

    def _is_heard(self) -> bool:
        heard = self._output.is_heard
        if heard is self._unheard:  # said once at each change
            (log.info if heard else log.warning)("voice_heard" if heard else "voice_unheard")
        self._unheard = not heard
        self._was_heard |= heard
        return heard

    async def _watch(self) -> None:
        """What grows late is dropped, and a player that says nothing is given up on."""
        while True:
            await asyncio.sleep(TICK_S)
            fates = self.queue.overdue(now_s())
            for reply_id in dict.fromkeys(fate.key[0] for fate in fates):
                self._output.skip(reply_id)
            self._settle(fates)

    def _settle(self, fates: Iterable[Fate], at: float | None = None) -> None:
        """Tell what became of sentences, and look for the next to be made."""
        now, self_at = unix_s(), at
        if self_at is None or abs(self_at - now) > MAX_SKEW_S:
            self_at = now
        for fate in fates:
            reply_id, seq = fate.key
            if self._was_heard:  # before anybody ever listened, she is read and not heard: in a terminal, say
                self._publish(Playback(reply_id=reply_id, seq=seq, state=fate.state, at=self_at))
            if fate.state == "skipped":
                log.info("sentence_skipped", reply_id=reply_id, seq=seq, reason=fate.why)
                self._forget(fate.key)
        self._changed.set()

    def _forget(self, key: Key) -> None:
        if self._making is not None and self._making[0] == key:
            self._making[1].cancel()
