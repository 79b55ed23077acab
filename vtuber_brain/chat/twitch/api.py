"""What we do at Twitch with the accounts that were logged in: each request with its account's token of the moment.

A token is renewed when Twitch no longer takes it, once for all who wait for it, and is on the disk before it is used.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from vtuber_brain.chat.twitch.http import Answered, Http, Owner, Tokens, open_http
from vtuber_brain.chat.twitch.tokens import Account, TokenFile
from vtuber_brain.chat.twitch.topics import Topic, login_command, scope_of
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.sections import TwitchSettings

log = structlog.get_logger(__name__)

RENEW_BEFORE_S = 900
SETTLE_S = 2.0
UNAUTHORISED, FORBIDDEN, CONFLICT = 401, 403, 409

T = TypeVar("T")


@contextlib.asynccontextmanager
async def open_api(settings: TwitchSettings, tokens: TokenFile) -> AsyncIterator["Api"]:
    """Twitch for the accounts in `tokens`. Raises Refused when they cannot be read."""
    async with open_http(settings) as http:
        api = Api(settings.client_id, http, tokens)
        try:
            yield api
        finally:
            await api.settle()


class Api:
    """Requests for accounts; made by `open_api`. `accounts` are those logged in, by user id, with their last tokens.

    Every method raises Unavailable when Twitch cannot be had, and Refused when the login is worth nothing any more.
    """

    def __init__(self, client_id: str, http: Http, tokens: TokenFile) -> None:
        self._client_id, self._http, self._tokens = client_id, http, tokens
        self.accounts = tokens.load()
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def check(self, user_id: str) -> Account:
        """The account, its token found good for a while, its scopes as Twitch has them."""
        owner = await self._as(user_id, self._http.validate)
        account = self.accounts[user_id]
        if not isinstance(owner, Owner) or owner.user_id != user_id:
            raise Refused(_worthless(account))
        if owner.client_id != self._client_id:
            command = login_command(account.scopes)
            raise Refused(f"the login of {account.login} belongs to another client id; log in again: {command}")
        self.accounts[user_id] = replace(account, login=owner.login, scopes=owner.scopes)
        if owner.expires_s < RENEW_BEFORE_S:
            await self._renew(user_id, account.access)
        return self.accounts[user_id]

    async def user_id(self, login: str, account_id: str) -> str | None:
        """The id of the account called `login`; None when there is none."""
        ids = await self._as(account_id, lambda token: self._http.user_ids(login, token))
        if isinstance(ids, Answered):
            raise Unavailable(f"Twitch answered {ids.status}, looking up {login}")
        return next(iter(ids), None)

    async def subscribe(self, topic: Topic, channel_id: str, account_id: str, session_id: str) -> None:
        """Have what happens sent to a session. Raises Refused, naming the scope, when the account may not see it."""
        condition = topic.condition(channel_id, account_id)
        answer = await self._as(account_id, lambda token: self._http.subscribe(topic, condition, session_id, token))
        if answer is None or answer.status == CONFLICT:  # there already
            return
        if answer.status in (UNAUTHORISED, FORBIDDEN):
            account = self.accounts[account_id]
            raise Refused(f"Twitch does not let {account.login} read {topic.type}: {mend(topic.type, account)}")
        raise Unavailable(f"Twitch answered {answer.status}, subscribing to {topic.type}")

    async def send(self, text: str, channel_id: str, account_id: str, reply_to: str | None) -> str | None:
        """Write into chat; None when it is shown, else a code that says why it is not."""
        answer = await self._as(
            account_id, lambda token: self._http.post(text, channel_id, account_id, reply_to, token)
        )
        return f"status_{answer.status}" if isinstance(answer, Answered) else answer

    async def settle(self) -> None:
        """Wait a little for renewals under way: an answer that nobody keeps would cost the login."""
        if self._renewals:
            await asyncio.wait(self._renewals.values(), timeout=SETTLE_S)

    async def _as(self, user_id: str, request: Callable[[str], Awaitable[T | Answered]]) -> T | Answered:
        token = self.accounts[user_id].access
        answer = await request(token)
        # A missing scope is a 401 too, and no new token would have it.
        if isinstance(answer, Answered) and answer.status == UNAUTHORISED and "scope" not in answer.message:
            await self._renew(user_id, token)
            answer = await request(self.accounts[user_id].access)
        return answer

    async def _renew(self, user_id: str, used: str) -> None:
        """Have another token than `used`. Who is cancelled here leaves the renewal running."""
        if self.accounts[user_id].access != used:
            return
        if user_id not in self._renewals:
            task = asyncio.create_task(self._exchange(user_id), name="twitch_renewal")
            self._renewals[user_id] = task
            task.add_done_callback(lambda done: self._forget(user_id, done))
        await asyncio.shield(self._renewals[user_id])

    async def _exchange(self, user_id: str) -> None:
        account = self.accounts[user_id]
        tokens = await self._http.renew(account.refresh)
        if isinstance(tokens, Tokens):
            self.accounts[user_id] = account = replace(account, access=tokens.access, refresh=tokens.refresh)
            try:
                self._tokens.put(account)
            except Refused as error:
                log.error("twitch_login_not_kept", reason=str(error))
            log.info("twitch_login_renewed", login=account.login)
            return
        stored = self._tokens.load().get(user_id)
        if stored is None or stored.refresh == account.refresh:
            raise Refused(_worthless(account))
        self.accounts[user_id] = stored  # somebody has logged in anew meanwhile

    def _forget(self, user_id: str, done: asyncio.Task[None]) -> None:
        del self._renewals[user_id]
        if not done.cancelled():
            done.exception()  # whoever waited for it has it; if nobody did, nobody misses it


def mend(topic_type: str, account: Account) -> str:
    """What an account needs to read something, and the command that gets it."""
    scope = scope_of(topic_type)
    again = f"log in again: {login_command([*account.scopes, *([scope] if scope else [])])}"
    if scope is None:
        return again
    banned = ", which it has, so it may be banned from the channel" if scope in account.scopes else ""
    return f"it needs the scope {scope}{banned}; {again}"


def _worthless(account: Account) -> str:
    command = login_command(account.scopes)
    return f"Twitch no longer accepts the login of {account.login} (expired or revoked); log in again: {command}"
