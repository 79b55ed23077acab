"""Single requests to Twitch's OAuth and Helix; the only file that knows twitchio, which is slow to import.

twitchio's exceptions carry client secret and tokens, and its managed client renews tokens twice at once, endlessly and
before anyone could keep them. So its plain client makes the requests, and what goes wrong is told in our words: no
error of twitchio's or aiohttp's leaves this file, not even as the context of one of ours.
"""

import asyncio
import contextlib
import logging
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import structlog

from vtuber_brain.chat.twitch.limits import pause_of
from vtuber_brain.chat.twitch.topics import Topic
from vtuber_brain.errors import Unavailable
from vtuber_brain.runtime.retry import backoff
from vtuber_brain.sections import TwitchSettings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # twitchio subclasses what aiohttp would rather it did not
    from twitchio.authentication import OAuth, Scopes
    from twitchio.eventsub import websockets as eventsub
    from twitchio.eventsub.enums import SubscriptionType
    from twitchio.exceptions import HTTPException
    from twitchio.http import Route

log = structlog.get_logger(__name__)
logging.getLogger("twitchio").setLevel(logging.CRITICAL + 1)  # parts of it log tokens; what matters to us is raised

FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 4.0
PATIENCE_S = 8.0
MAX_MESSAGE_CHARS = 200
TOO_MANY = 429
NONSENSE = "gave an answer that makes no sense"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answered:
    """Twitch turned a request down with a status below 500, but 429; `message` is its own, in lower case."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose token it is, what it allows, and for how many seconds."""

    user_id: str
    login: str
    client_id: str
    scopes: tuple[str, ...]
    expires_s: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair of tokens. Never shown."""

    access: str
    refresh: str

    def __repr__(self) -> str:
        return "Tokens(***)"


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a person confirms in a browser: `user_code` at `uri`, within `expires_s`; ask every `interval_s`."""

    device_code: str
    user_code: str
    uri: str
    interval_s: float
    expires_s: float

    def __repr__(self) -> str:
        return "DeviceCode(***)"


@dataclass(frozen=True, slots=True)
class _Failed:
    """`pause_s` is how long Twitch wants to be left alone; `lost` that it may have done what it was asked."""

    what: str
    pause_s: float = 0.0
    lost: bool = False


class LeftAlone(Unavailable):
    """Twitch does not answer at present and wants to be left alone for `pause_s` seconds (0: it does not say)."""

    def __init__(self, what: str, pause_s: float) -> None:
        super().__init__(what)
        self.pause_s = pause_s


class _Busy(Exception):
    """Twitch answered 429 or 5xx."""

    def __init__(self, status: int, pause_s: float) -> None:
        super().__init__(status)
        self.status, self.pause_s = status, pause_s


class _Client(OAuth):
    """twitchio's plain client. Where a request names an account (`token_for`), we name the token itself."""

    async def request(self, route: Route) -> Any:
        """As twitchio does, with that token."""
        if route.token_for:
            route.update_headers({"Authorization": f"Bearer {route.token_for}"})
        return await super().request(route)


def events_url(keepalive_s: int) -> str:
    """Where EventSub is, asked to give a sign of life every `keepalive_s` seconds at least."""
    return f"{eventsub.WSS}?keepalive_timeout_seconds={keepalive_s}"


@contextlib.asynccontextmanager
async def open_http(settings: TwitchSettings) -> AsyncIterator["Http"]:
    """Twitch, for the application of the settings."""
    async with aiohttp.ClientSession(middlewares=(_turn_away,)) as session:
        yield Http(settings, session)


class Http:
    """Requests to Twitch; made by `open_http`. `token` is an account's access token.

    Each is tried again after 429, 5xx and losses for at most PATIENCE_S, then raises LeftAlone; what Twitch turns
    down for a reason is returned.
    """

    def __init__(self, settings: TwitchSettings, session: aiohttp.ClientSession) -> None:
        secret = settings.client_secret.get_secret_value() if settings.client_secret else None
        self._timeout_s, self._client_id = settings.timeout_s, settings.client_id
        self._client = _Client(client_id=settings.client_id, client_secret=secret, session=session)

    async def validate(self, token: str) -> Owner | Answered:
        """Whose token this is."""

        async def request() -> Owner:
            owner = await self._client.validate_token(token)
            user_id = _text(owner.user_id)
            return Owner(user_id, owner.login or user_id, owner.client_id, tuple(owner.scopes), float(owner.expires_in))

        return await self._ask("looking at a login", request)

    async def renew(self, refresh: str) -> Tokens | Answered:
        """New tokens for a refresh token, which a public application may use once."""

        async def request() -> Tokens:
            renewed = await self._client.refresh_token(refresh)
            return Tokens(_text(renewed.access_token), _text(renewed.refresh_token))

        return await self._ask("renewing a login", request)

    async def revoke(self, token: str) -> Answered | None:
        """Have Twitch forget a token."""

        async def request() -> None:
            await self._client.request(Route("POST", "/oauth2/revoke", use_id=True, params=self._own(token=token)))

        return await self._ask("ending a login", request)

    async def user_ids(self, login: str, token: str) -> list[str] | Answered:
        """The id of the account called `login`, if there is one."""

        async def request() -> list[str]:
            return [_text(user["id"]) for user in (await self._client.get_users(None, [login], token))["data"]]

        return await self._ask("looking up a channel", request)

    async def subscribe(self, topic: Topic, condition: dict[str, str], session_id: str, token: str) -> Answered | None:
        """Have what happens sent to an EventSub session."""

        async def request() -> None:
            await self._client.create_eventsub_subscription(
                type=SubscriptionType(topic.type),
                version=topic.version,
                condition=condition,  # type: ignore[arg-type]
                transport={"method": "websocket", "session_id": session_id},
                token_for=token,
            )

        return await self._ask(f"subscribing to {topic.type}", request)

    async def post(
        self, text: str, channel_id: str, account_id: str, reply_to: str | None, token: str
    ) -> Answered | str | None:
        """Write into chat: None when it is shown, else Twitch's code for why not. One that got lost is not repeated."""

        async def request() -> str | None:
            sent = (
                await self._client.post_chat_message(
                    channel_id, account_id, text, token_for=token, reply_to_message_id=reply_to
                )
            )["data"][0]
            if sent["is_sent"]:
                return None
            return _text((sent.get("drop_reason") or {}).get("code", "dropped"))

        return await self._ask("writing into chat", request, repeat_lost=False)

    async def device_code(self, scopes: tuple[str, ...]) -> DeviceCode | Answered:
        """Begin a login that a person confirms elsewhere."""

        async def request() -> DeviceCode:
            code = await self._client.device_code_flow(scopes=Scopes(scopes))
            return DeviceCode(
                _text(code["device_code"]),
                _text(code["user_code"]),
                _text(code["verification_uri"]),
                float(code["interval"]),
                float(code["expires_in"]),
            )

        return await self._ask("beginning a login", request)

    async def device_tokens(self, code: DeviceCode, scopes: tuple[str, ...]) -> Tokens | Answered:
        """The tokens of who confirmed `code`."""
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        params = self._own(scopes=Scopes(scopes).urlsafe(), device_code=code.device_code, grant_type=grant)

        async def request() -> Tokens:
            given = await self._client.request_json(Route("POST", "/oauth2/token", use_id=True, params=dict(params)))
            return Tokens(_text(given["access_token"]), _text(given["refresh_token"]))

        return await self._ask("finishing a login", request)

    def _own(self, **params: str) -> dict[str, Any]:
        return {"client_id": self._client_id, **params}

    async def _ask(self, doing: str, request: Callable[[], Awaitable[T]], *, repeat_lost: bool = True) -> T | Answered:
        pauses = backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        give_up_s = time.monotonic() + PATIENCE_S
        while isinstance(outcome := await self._try(request), _Failed):
            pause_s = max(outcome.pause_s, next(pauses))
            if (outcome.lost and not repeat_lost) or time.monotonic() + pause_s > give_up_s:
                raise LeftAlone(f"Twitch {outcome.what}, {doing}", outcome.pause_s)
            log.info("twitch_asked_again", doing=doing, why=outcome.what, pause_s=round(pause_s, 2))
            await asyncio.sleep(pause_s)
        return outcome

    async def _try(self, request: Callable[[], Awaitable[T]]) -> T | Answered | _Failed:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await request()
        except _Busy as busy:
            return _Failed(f"answered {busy.status}", busy.pause_s)
        except HTTPException as answer:
            if answer.status >= 500:  # twitchio's own, for what is not JSON
                return _Failed(NONSENSE, lost=True)
            return Answered(answer.status, _message(answer.extra))
        except (LookupError, TypeError, ValueError):
            return _Failed(NONSENSE, lost=True)
        except (aiohttp.ClientError, OSError) as error:  # asyncio's timeout is an OSError
            # Its text may hold an address, and that the client secret.
            return _Failed(f"cannot be reached ({type(error).__name__})", lost=True)


async def _turn_away(
    request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
) -> aiohttp.ClientResponse:
    """Before twitchio sees it, who forgets the headers that say how long to wait."""
    response = await handler(request)
    if response.status == TOO_MANY or response.status >= 500:
        pause_s = pause_of(response.headers, time.time())
        response.close()
        raise _Busy(response.status, pause_s)
    return response


def _message(extra: object) -> str:
    """Twitch's words: to decide by, and to show only where nothing secret was sent that they could repeat."""
    message = extra.get("message") if isinstance(extra, Mapping) else None
    return message[:MAX_MESSAGE_CHARS].lower() if isinstance(message, str) else ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
