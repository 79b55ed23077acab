"""The mood of the room: what the classifier says of the messages that wait, and of those that were judged anyway.

No CPU classifies a flood. While the best of what waits and the latest of it are looked at, a settings' share of the
classifier's time is spent, never all of it: the sentences to be spoken go through the same child.
"""

import asyncio
import math

from vtuber_brain.chat.inbox import Inbox, Recent
from vtuber_brain.messages import ChatMessage, Mood, Sentiment
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sentiment.judge import Judge

BATCH = 8
FELT_KEPT = 4096
FADE_S = 30.0
"""After so long a mood counts a third."""

REST_S = 1.0
"""While the classifier has no answer it is asked so seldom."""

_SENTIMENTS: tuple[Sentiment, ...] = ("negative", "neutral", "positive")


class Crowd:
    """Has the waiting messages felt, and keeps the mood of the room in the metrics."""

    def __init__(self, inbox: Inbox, judge: Judge, metrics: Metrics, share: float) -> None:
        self._inbox, self._judge, self._metrics, self._share = inbox, judge, metrics, share
        self._weights = dict.fromkeys(_SENTIMENTS, 0.0)
        self._felt_s = 0.0
        self._felt = Recent(FELT_KEPT)

    @property
    def mood(self) -> dict[Sentiment, float] | None:
        """The shares of the sentiments among what was felt lately; None when nothing was."""
        total = sum(self._weights.values())
        return {name: weight / total for name, weight in self._weights.items()} if total > 0 else None

    async def run(self) -> None:
        """Feel what waits, batch by batch, until cancelled."""
        while self._share:
            messages = self._inbox.unfelt(BATCH)
            if not messages:
                await self._inbox.filled()
                continue
            began_s = now_s()
            moods = await asyncio.gather(*(self._judge.feel(message) for message in messages))
            for message, mood in zip(messages, moods, strict=True):
                self._note(message, mood)
            took_s = now_s() - began_s
            await asyncio.sleep(took_s * (1 - self._share) / self._share if any(moods) else REST_S)

    def feel(self, message: ChatMessage, mood: Mood, why: str) -> None:
        """The mood of one more message, which counts once; `why` it was asked for: "waiting" or "judged"."""
        if not self._felt.add(message.key):
            return
        self._metrics.moods.labels(why).inc()
        fading = math.exp((self._felt_s - now_s()) / FADE_S)
        self._felt_s = now_s()
        for name in _SENTIMENTS:
            self._weights[name] = self._weights[name] * fading + mood.scores.get(name, 0.0)
        for name, share in (self.mood or {}).items():
            self._metrics.room.labels(name).set(round(share, 3))

    def _note(self, message: ChatMessage, mood: Mood | None) -> None:
        if mood is not None:
            self._inbox.feel(message, mood)
            self.feel(message, mood, "waiting")
