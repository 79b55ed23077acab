"""How long it takes from a viewer's message until the player plays the answer. A sink; it only measures."""

from collections import OrderedDict

from vtuber_brain.messages import Event, Played, Utterance
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.metrics import Metrics

MAX_REPLIES = 256


class PlaybackTimes:
    """The replies that were said and are not played yet: the last MAX_REPLIES; the oldest is forgotten."""

    name = "playback"

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._said: OrderedDict[str, float] = OrderedDict()

    async def emit(self, event: Event) -> None:
        """Remember when the message came that the first sentence of a reply answers."""
        if isinstance(event, Utterance) and event.seq == 0 and event.in_reply_to is not None:
            self._said[event.reply_id] = event.in_reply_to.received_s
            self._metrics.stage.labels("published").observe(now_s() - event.in_reply_to.received_s)
            if len(self._said) > MAX_REPLIES:
                self._said.popitem(last=False)

    def heard(self, reply_id: str, seq: int, played: Played) -> None:
        """The player has spoken: of the first sentence's beginning once, as the stage `playback`."""
        if seq == 0 and played == "started" and (since_s := self._said.pop(reply_id, None)) is not None:
            self._metrics.stage.labels("playback").observe(now_s() - since_s)
