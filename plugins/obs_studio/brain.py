"""Mutes and unmutes her over the control API, as any operator does: with a token, and a line in the audit log."""

import aiohttp

from .options import Options


class Brain:
    """The control API of one daemon."""

    def __init__(self, options: Options) -> None:
        self._url = options.control_url.rstrip("/")
        self._token = options.control_token
        self._timeout = aiohttp.ClientTimeout(total=options.timeout_s)

    async def mute(self, muted: bool) -> str:
        """Have her muted, or not; empty when it is done, else why not, for the operator."""
        if self._token is None:
            return "there is no control_token in the settings"
        headers = {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        url = f"{self._url}/v1/{'mute' if muted else 'unmute'}"
        try:
            async with (
                aiohttp.ClientSession(timeout=self._timeout) as session,
                session.post(url, headers=headers) as told,
            ):
                return "" if told.status == 200 else f"the control API answered {told.status} to a mute made in OBS"
        except (aiohttp.ClientError, OSError, ValueError):
            return "the control API did not answer to a mute made in OBS"
