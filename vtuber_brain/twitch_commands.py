"""`vtuber-brain twitch`: the accounts that read and write a channel's chat.

Exit codes: 0 done; 1 a login is worth nothing or lacks something; 2 the settings are wrong or Twitch refused;
3 Twitch cannot be reached.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from vtuber_brain.config import load

if TYPE_CHECKING:
    from vtuber_brain.chat.twitch.http import DeviceCode

DONE, FAILED = 0, 1

twitch = App(name="twitch", help="The accounts that read and write a channel's chat.")

Config = Annotated[Path | None, Parameter(name="--config", help="The file the daemon is started with.")]


@twitch.command
def login(
    *,
    broadcaster: Annotated[
        bool, Parameter(help="The channel's own account: follows, cheers and redemptions too.", negative="")
    ] = False,
    config: Config = None,
) -> None:
    """Log an account in: confirm the code shown, with that account, in any browser. Restart the daemon then."""
    from vtuber_brain.chat.twitch.login import login as log_in

    settings = load(config).twitch
    account = asyncio.run(log_in(settings, broadcaster=broadcaster, show=_show))
    _say(f"{account.login} is logged in; it allows {', '.join(account.scopes)}")
    if broadcaster and settings.channel and account.login != settings.channel:
        _say(f"It is not the account of the channel {settings.channel}, so only its chat scopes are of use")


@twitch.command
def status(*, config: Config = None) -> int:
    """Which accounts are logged in, and whether Twitch still lets them do what they are for."""
    from vtuber_brain.chat.twitch.login import standings

    async def show() -> list[bool]:
        good = []
        async for standing in standings(load(config).twitch):
            lacking = f"lacks {', '.join(standing.missing)}" if standing.missing else "good"
            _say(f"{standing.login}: {standing.worthless or lacking}")
            good.append(lacking == "good" and standing.worthless is None)
        return good

    good = asyncio.run(show())
    if not good:
        _say("nobody is logged in; run: vtuber-brain twitch login")
    return DONE if good and all(good) else FAILED


@twitch.command
def logout(*, config: Config = None) -> None:
    """Have Twitch revoke every login, and forget them."""
    from vtuber_brain.chat.twitch.login import logout as log_out

    names = asyncio.run(log_out(load(config).twitch))
    _say(f"logged out: {', '.join(names)}" if names else "nobody was logged in")


def _show(code: "DeviceCode") -> None:
    _say(f"Open {code.uri}\nand confirm the code {code.user_code} within {code.expires_s / 60:.0f} minutes.")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
