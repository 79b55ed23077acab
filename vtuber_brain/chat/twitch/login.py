"""Logging in at Twitch by device code: a person confirms a code in any browser, and the tokens come to us.

The password never comes near us. What is kept afterwards is `twitch_tokens`'s file.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from vtuber_brain.chat.twitch.api import Api, open_api
from vtuber_brain.chat.twitch.http import Answered, DeviceCode, Owner, Tokens, open_http
from vtuber_brain.chat.twitch.tokens import FILE, Account, TokenFile
from vtuber_brain.chat.twitch.topics import BROADCASTER_SCOPES, CHAT_SCOPES
from vtuber_brain.config import state_dir
from vtuber_brain.errors import ConfigError, Problem, Refused
from vtuber_brain.sections import TwitchSettings

PENDING = "authorization_pending"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one login stands: what it may not do for us, or why it is worth nothing."""

    login: str
    missing: tuple[str, ...] = ()
    worthless: str | None = None


def token_file(settings: TwitchSettings) -> TokenFile:
    """Where logins are kept. Raises ConfigError while there is no application to log in to."""
    if not settings.client_id:
        fix = "Register an application (docs/twitch.md says how) and give its client id"
        raise ConfigError([Problem("twitch.client_id", "no application is named", fix)])
    return TokenFile(state_dir() / FILE, settings.client_id)


async def login(settings: TwitchSettings, *, broadcaster: bool, show: Callable[[DeviceCode], None]) -> Account:
    """Log an account in and keep it; `show` tells the person what to confirm.

    Raises Refused when Twitch or the person says no, Unavailable when Twitch cannot be had.
    """
    tokens = token_file(settings)
    scopes = CHAT_SCOPES + (BROADCASTER_SCOPES if broadcaster else ())
    async with open_http(settings) as http:
        code = await http.device_code(scopes)
        if isinstance(code, Answered):
            raise Refused(f"Twitch does not know the application ({code.message}); look at twitch.client_id")
        show(code)
        give_up_s = time.monotonic() + code.expires_s
        while isinstance(given := await http.device_tokens(code, scopes), Answered):
            if given.message != PENDING:
                raise Refused(f"Twitch refused the login ({given.message}); run the command again")
            if time.monotonic() + code.interval_s > give_up_s:
                raise Refused("the code was not confirmed in time; run the command again")
            await asyncio.sleep(code.interval_s)
        account = _account(given, await http.validate(given.access))
    tokens.put(account)
    return account


async def standings(settings: TwitchSettings) -> AsyncIterator[Standing]:
    """Every login, asked for at Twitch. Raises Unavailable when it cannot be had."""
    async with open_api(settings, token_file(settings)) as api:
        for account in list(api.accounts.values()):
            yield await _standing(api, account, settings.channel)


async def logout(settings: TwitchSettings) -> list[str]:
    """Have every login revoked and forgotten: their names. Raises Unavailable when Twitch cannot be had."""
    tokens = token_file(settings)
    async with open_http(settings) as http:
        for account in (accounts := tokens.load()).values():
            await http.revoke(account.access)  # one that is refused was worth nothing any more
            tokens.remove(account.user_id)
    return [account.login for account in accounts.values()]


async def _standing(api: Api, account: Account, channel: str) -> Standing:
    needed = CHAT_SCOPES + (BROADCASTER_SCOPES if account.login == channel else ())
    try:
        checked = await api.check(account.user_id)
    except Refused as error:
        return Standing(account.login, worthless=str(error))
    return Standing(checked.login, tuple(scope for scope in needed if scope not in checked.scopes))


def _account(given: Tokens, owner: Owner | Answered) -> Account:
    if isinstance(owner, Answered):
        raise Refused("Twitch does not say whose login this is; run the command again")
    return Account(owner.user_id, owner.login, given.access, given.refresh, owner.scopes)
