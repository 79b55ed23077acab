"""Between Twitch's lines and the brain: every event once, whatever line brings it how often, and none of our own doing.

What is left out is counted by its reason. It keeps no message longer than a moment and judges none. No event waits
until one before it is stored: a deletion must not stand behind a disk that is slow.
"""

import asyncio

import structlog

from vtuber_brain.chat.inbox import Recent
from vtuber_brain.chat.twitch.events import NOT_IN_CHAT, Ignored, StreamState, understand
from vtuber_brain.chat.twitch.frames import Notice
from vtuber_brain.chat.twitch.metrics import TwitchMetrics
from vtuber_brain.chat.twitch.replies import TwitchReplies
from vtuber_brain.chat.twitch.twins import Twins
from vtuber_brain.errors import Unavailable
from vtuber_brain.messages import ChatMessage, Incoming, Retraction
from vtuber_brain.plugin_api import Deliver
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.sections import TwitchSettings

log = structlog.get_logger(__name__)

MAX_UNDER_WAY = 256
"""Events on their way to the disk at once, for a commit is shared; beyond that no more are taken from Twitch."""

MODERATORS = frozenset({"broadcaster", "moderator"})


class Intake:
    """Takes notices and delivers. `live` is whether the stream is on, None while nobody has said so.

    What was seen is remembered over reconnections: `enter` may be called again, with the same channel.
    """

    def __init__(self, settings: TwitchSettings, metrics: TwitchMetrics, replies: TwitchReplies) -> None:
        self._metrics, self._replies = metrics, replies
        self._ignored_names = frozenset(name.casefold() for name in settings.ignore)
        self._seen = Recent(settings.dedupe)
        self._twins = Twins()
        self._held = asyncio.Event()
        self._places = asyncio.Semaphore(MAX_UNDER_WAY)
        self._group: asyncio.TaskGroup | None = None
        self._deliver_to: Deliver | None = None
        self._our_id, self._shared = "", False
        self.live: bool | None = None

    def enter(self, deliver: Deliver, group: asyncio.TaskGroup, *, our_id: str, channel_id: str) -> None:
        """From now on deliver there, in tasks of `group`; `our_id` writes, and may be the channel's own account."""
        self._deliver_to, self._group = deliver, group
        self._our_id, self._shared = our_id, our_id == channel_id

    async def take(self, notice: Notice) -> None:
        """Have delivered what happened, unless it was before or is none of the brain's; it begins in order."""
        if not self._seen.add(notice.id):
            self._leave_out("duplicate")
            return
        event = understand(notice, our_id=self._our_id, at=unix_s(), received_s=now_s())
        match event:
            case ChatMessage():
                await self._message(event)
            case Retraction():
                self._replies.retract(event)
                self._twins.retract(event)
                await self._hand_on(event)
            case StreamState(live):
                self.live = live
                self._metrics.live.set(live)
                log.info("twitch_stream", live=live)
            case Ignored():
                self._leave_out(event.value)

    async def run(self) -> None:
        """Let go what was held for its twin, until cancelled."""
        while True:
            self._held.clear()
            if (at_s := self._twins.next_s()) is None:
                await self._held.wait()
                continue
            await asyncio.sleep(at_s - now_s())
            for message in self._twins.due(now_s()):
                await self._hand_on(message)

    async def _message(self, message: ChatMessage) -> None:
        if self._is_own(message):
            self._leave_out("own")
        elif message.author.name.casefold() in self._ignored_names:
            self._leave_out("ignored_name")
        elif message.id.startswith(NOT_IN_CHAT) and message.kind != "follow" and message.text:
            self._twins.hold(message, now_s())
            self._held.set()
        else:
            if message.kind in ("cheer", "redeem"):
                self._twins.see(message, now_s())
            await self._hand_on(message)

    def _is_own(self, message: ChatMessage) -> bool:
        """Whether we wrote it; of an account that its owner writes with too, only what we are known to have written."""
        if message.author.id != self._our_id or message.kind not in ("chat", "cheer"):
            return False
        self._replies.moderates(not MODERATORS.isdisjoint(message.author.roles))
        return not self._shared or self._replies.wrote(message.text)

    async def _hand_on(self, incoming: Incoming) -> None:
        """Begin to deliver; waits only while MAX_UNDER_WAY are not yet stored."""
        await self._places.acquire()
        assert self._group is not None
        task = self._group.create_task(self._deliver(incoming), name="twitch_delivery")
        task.add_done_callback(lambda _: self._places.release())

    async def _deliver(self, incoming: Incoming) -> None:
        assert self._deliver_to is not None
        try:
            await self._deliver_to(incoming)
        except Unavailable as error:
            log.warning("twitch_not_stored", reason=str(error))  # Twitch could not send it again

    def _leave_out(self, reason: str) -> None:
        self._metrics.ignored.labels(reason).inc()
