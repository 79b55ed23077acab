"""Chat from Twitch: a source of what viewers do in one channel, and, where it is wanted, a sink that answers there.

It reads with the account that was logged in, and, where the channel's own account was too, hears of follows, cheers,
redemptions, and the stream's begin and end. It comes back by itself whenever Twitch was lost. It never judges.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from vtuber_brain.chat.twitch.api import Api, open_api
from vtuber_brain.chat.twitch.intake import Intake
from vtuber_brain.chat.twitch.line import Line
from vtuber_brain.chat.twitch.metrics import TwitchMetrics
from vtuber_brain.chat.twitch.replies import TwitchReplies
from vtuber_brain.chat.twitch.tokens import FILE, Account, TokenFile
from vtuber_brain.chat.twitch.topics import (
    BROADCASTER_SCOPES,
    BROADCASTER_TOPICS,
    CHAT_TOPICS,
    READ_CHAT,
    WRITE_CHAT,
    Topic,
    login_command,
)
from vtuber_brain.config import state_dir
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.plugin_api import Deliver
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.sections import TwitchSettings

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.5
CHECK_S = 3600.0
BROADCASTER = "twitch_broadcaster"

OnState = Callable[[str, bool, str], None]


@dataclass(frozen=True, slots=True)
class Room:
    """The channel's id, who reads and writes there, and the channel's own account where that was logged in."""

    channel_id: str
    bot: Account
    broadcaster: Account | None


class TwitchChat:
    """The source `twitch`. `replies` is the sink that goes with it, None when nothing is to be written into chat.

    `on_state(part, up, reason)` is told how `twitch` is, and `twitch_broadcaster` where that account was logged in.
    """

    name = "twitch"

    def __init__(self, settings: TwitchSettings, metrics: Metrics, on_state: OnState) -> None:
        self._settings, self._on_state = settings, on_state
        self._metrics = TwitchMetrics(metrics)
        self._answers = TwitchReplies(settings, self._metrics)
        self._intake = Intake(settings, self._metrics, self._answers)
        self.replies = self._answers if settings.reply_in_chat != "off" else None

    @property
    def live(self) -> bool | None:
        """Whether the stream is on; None where nobody has said so."""
        return self._intake.live

    def mute(self, muted: bool) -> None:
        """Whether anything may be written into chat."""
        self._answers.mute(muted)

    async def run(self, deliver: Deliver) -> None:
        """Deliver what happens until cancelled. Raises Refused when a login is missing or worth nothing."""
        pauses = backoff(FIRST_PAUSE_S, self._settings.retry_max_s)
        tokens = TokenFile(state_dir() / FILE, self._settings.client_id)
        while True:
            try:
                async with open_api(self._settings, tokens) as api:
                    await self._serve(api, await self._enter(api), deliver)
            except Unavailable as error:
                self._on_state(self.name, False, str(error))
            await asyncio.sleep(next(pauses))

    async def _enter(self, api: Api) -> Room:
        """Find out who is who. Raises Refused with what the operator has to do about it."""
        settings = self._settings
        bot = await api.check(reader(api.accounts, settings).user_id)
        needed = (READ_CHAT, WRITE_CHAT) if self.replies is not None else (READ_CHAT,)
        if missing := [scope for scope in needed if scope not in bot.scopes]:
            command = login_command(bot.scopes)
            raise Refused(f"the login of {bot.login} lacks the scope {' and '.join(missing)}; log in again: {command}")
        channel_id = await api.user_id(settings.channel, bot.user_id)
        if channel_id is None:
            raise Refused(f"there is no channel {settings.channel} at Twitch; look at twitch.channel in the settings")
        return Room(channel_id, bot, await self._broadcaster(api, channel_id))

    async def _broadcaster(self, api: Api, channel_id: str) -> Account | None:
        if channel_id not in api.accounts:
            return None
        try:
            account = await api.check(channel_id)
        except Refused as error:
            self._give_up_broadcaster(error)
            return None
        if missing := [scope for scope in BROADCASTER_SCOPES if scope not in account.scopes]:
            log.warning("twitch_scopes_missing", scopes=missing, command=login_command(BROADCASTER_SCOPES))
        return account

    async def _serve(self, api: Api, room: Room, deliver: Deliver) -> None:
        """Read and write until cancelled. Raises Refused."""

        async def send(text: str, reply_to: str | None) -> str | None:
            return await api.send(text, room.channel_id, room.bot.user_id, reply_to)

        extra = allowed(room.broadcaster)
        shared = room.broadcaster is not None and room.broadcaster.user_id == room.bot.user_id
        chat = self._line(api, room, room.bot, [*CHAT_TOPICS, *(extra if shared else [])], self.name)
        try:
            async with asyncio.TaskGroup() as group:
                self._intake.enter(deliver, group, our_id=room.bot.user_id, channel_id=room.channel_id)
                group.create_task(chat.run(), name="twitch_chat")
                group.create_task(self._intake.run(), name="twitch_intake")
                group.create_task(self._answers.run(send), name="twitch_replies")
                group.create_task(self._keep_checking(api, room.bot), name="twitch_check")
                if room.broadcaster is not None and not shared:
                    line = self._line(api, room, room.broadcaster, extra, BROADCASTER)
                    group.create_task(self._beside(line, api, room.broadcaster), name=BROADCASTER)
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None

    def _line(self, api: Api, room: Room, account: Account, topics: Sequence[Topic], part: str) -> Line:
        return Line(
            self._settings,
            self._metrics,
            api,
            channel_id=room.channel_id,
            account_id=account.user_id,
            topics=topics,
            take=self._intake.take,
            on_state=lambda up, reason: self._on_state(part, up, reason),
        )

    async def _beside(self, line: Line, api: Api, account: Account) -> None:
        """What only the channel's own account hears; chat goes on without it."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(line.run(), name=f"{BROADCASTER}_line")
                group.create_task(self._keep_checking(api, account), name=f"{BROADCASTER}_check")
        except* Refused as errors:
            self._give_up_broadcaster(first_of(errors))

    def _give_up_broadcaster(self, error: BaseException) -> None:
        self._on_state(BROADCASTER, False, str(error))
        log.error("twitch_broadcaster_given_up", reason=str(error))

    async def _keep_checking(self, api: Api, account: Account) -> None:
        """Twitch asks everyone to look once an hour whether their tokens are still wanted. Raises Refused."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await api.check(account.user_id)
            except Unavailable as error:
                log.info("twitch_not_checked", reason=str(error))


def reader(accounts: Mapping[str, Account], settings: TwitchSettings) -> Account:
    """The account that reads and writes: the one named, else one that is not the channel's. Raises Refused."""
    names = {account.login: account for account in accounts.values()}
    if settings.bot_name:
        if settings.bot_name not in names:
            raise Refused(f"{settings.bot_name} is not logged in at Twitch; log in with it: {login_command(())}")
        return names[settings.bot_name]
    if not names:
        raise Refused(f"nobody is logged in at Twitch; run: {login_command(())}")
    others = [account for login, account in names.items() if login != settings.channel]
    return others[0] if others else names[settings.channel]


def allowed(account: Account | None) -> list[Topic]:
    """What the channel's own account lets us hear."""
    if account is None:
        return []
    return [topic for topic in BROADCASTER_TOPICS if topic.scope is None or topic.scope in account.scopes]


def first_of(errors: BaseException) -> BaseException:
    """The innermost reason in groups of errors."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors
