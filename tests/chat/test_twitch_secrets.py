"""Nothing secret leaves: not in a log line, not in an exception, whatever goes wrong and whatever Twitch repeats."""

import asyncio
import gc
import io
import logging
import sys
import traceback
import urllib.parse
from contextlib import contextmanager

import pytest
import structlog

from tests.chat.twitch_stage import CHAT, log_in, mocked, on_stage, settings, tokens
from tests.support.twitch_mock import BOT_ID, CHANNEL_ID, CLIENT_SECRET, Answer, said
from vtuber_brain.chat.twitch import http as twitch_http
from vtuber_brain.chat.twitch.api import open_api
from vtuber_brain.errors import BrainError
from vtuber_brain.runtime import logs

BROADCASTER = ("moderator:read:followers", "bits:read", "channel:read:redemptions")


@pytest.fixture
async def twitch(monkeypatch):
    async with mocked(monkeypatch) as server:
        yield server


@contextmanager
def everything_logged():
    """Every line of every library, at the lowest level, none hidden by name."""
    stream, root, stderr, config = io.StringIO(), logging.getLogger(), sys.stderr, structlog.get_config()
    before = root.handlers[:], root.level
    sys.stderr = stream
    try:
        logs.setup("debug", "json")
        for name in ("asyncio", "websockets", "aiohttp"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        yield stream
    finally:
        sys.stderr = stderr
        root.handlers[:], root.level = before
        for name in ("asyncio", "websockets", "aiohttp"):
            logging.getLogger(name).setLevel(logging.WARNING)
        structlog.configure(**config)


def told(error):
    """Everything an exception says, with all it stands on, shown or not."""
    texts, seen = [], set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        texts += [str(error), repr(error), "".join(traceback.format_exception(error)), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def found(secrets, text):
    forms = {form for secret in secrets for form in (secret, urllib.parse.quote(secret, safe=""), repr(secret)[1:-1])}
    return [form for form in forms if form in text]


async def gauntlet(twitch, stage):
    """What can go wrong while it runs."""
    session = await twitch.subscribed(user_id=BOT_ID)
    await session.notify("channel.chat.message", said("hello", "m1"))
    await session.send("notification", {"event": {}}, metadata=False)
    twitch.expire()
    repeated = ", ".join(twitch.secrets())
    twitch.fail("/helix/eventsub/subscriptions", Answer(500, repeated), Answer(401, "Invalid OAuth token"))
    twitch.fail("/oauth2/token", Answer(503, repeated), Answer(200, raw="{"), Answer(0, hang=True))
    await session.drop()
    await (await twitch.subscribed(number=2, user_id=BOT_ID)).notify("channel.chat.message", said("there", "m2"))
    await stage.heard(2)


async def test_no_secret_in_any_log_line_or_error_while_everything_goes_wrong(twitch, monkeypatch):
    log_in(twitch)
    log_in(twitch, CHANNEL_ID, (*CHAT, *BROADCASTER), expires_in=60)
    with everything_logged() as stream:
        async with on_stage(reply_in_chat="all", timeout_s=0.6) as stage:
            await gauntlet(twitch, stage)
            repeated = ", ".join(twitch.secrets())
            twitch.withdraw()
            twitch.fail("/helix/eventsub/subscriptions", *[Answer(401, "Invalid OAuth token")] * 2)
            twitch.fail("/oauth2/token", Answer(400, f"Invalid refresh token {repeated}"))
            for session in twitch.sessions:
                await session.drop()
            error = await stage.ended()
        gc.collect()
        await asyncio.sleep(0)
    assert isinstance(error, BrainError)
    written = stream.getvalue() + told(error) + repr(stage.states) + repr(tokens().load())
    assert "twitch_gap" in written
    assert found(twitch.secrets(), written) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(400, "ECHO"),
        Answer(401, "ECHO"),
        Answer(403, "ECHO"),
        Answer(429, "ECHO"),
        Answer(500, "ECHO"),
        Answer(200, raw="{ECHO"),
        Answer(200, raw='"ECHO"'),
        Answer(0, hang=True),
    ],
    ids=lambda answer: f"{answer.status}{answer.raw or answer.message}",
)
@pytest.mark.parametrize("path", ["/oauth2/validate", "/oauth2/token", "/helix/users"])
async def test_no_error_of_a_request_says_a_secret(twitch, monkeypatch, path, answer):
    monkeypatch.setattr(twitch_http, "PATIENCE_S", 0.0)
    log_in(twitch)
    if path == "/oauth2/token":
        twitch.expire()
    echo = " ".join(twitch.secrets())
    message, raw = answer.message.replace("ECHO", echo), answer.raw and answer.raw.replace("ECHO", echo)
    twitch.fail(path, *[Answer(answer.status, message, hang=answer.hang, raw=raw)] * 3)
    with everything_logged() as stream:
        async with open_api(settings(timeout_s=0.2), tokens()) as api:
            (account,) = api.accounts.values()
            with pytest.raises(BrainError) as caught:
                await api.check(account.user_id)
                await api.user_id("mori_channel", account.user_id)
        gc.collect()
    assert found(twitch.secrets(), told(caught.value) + stream.getvalue()) == []
    assert caught.value.__cause__ is None


async def test_nobody_there_says_no_address_with_a_secret(twitch, monkeypatch):
    monkeypatch.setattr(twitch_http, "PATIENCE_S", 0.0)
    monkeypatch.setattr(twitch_http.Route, "ID_BASE", "http://127.0.0.1:9/")
    log_in(twitch)
    async with twitch_http.open_http(settings()) as http:
        with pytest.raises(BrainError) as caught:
            await http.renew(tokens().load()["2000"].refresh)
    assert found(twitch.secrets(), told(caught.value)) == []


async def test_who_answers_no_http_is_told_without_the_address_asked_for(twitch, monkeypatch):
    async def babble(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 what\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    monkeypatch.setattr(twitch_http, "PATIENCE_S", 0.0)
    log_in(twitch)
    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(twitch_http.Route, "ID_BASE", f"http://127.0.0.1:{port}/")
        async with twitch_http.open_http(settings()) as http:
            with pytest.raises(BrainError, match="ClientResponseError") as caught:
                await http.renew(tokens().load()["2000"].refresh)
    assert found(twitch.secrets(), told(caught.value)) == []


async def test_the_search_finds_what_twitchio_itself_would_say(twitch):
    log_in(twitch)
    (account,) = tokens().load().values()
    twitch.withdraw()
    async with twitch_http.open_http(settings()) as http:
        with pytest.raises(twitch_http.HTTPException) as caught:
            await http._client.refresh_token(account.refresh)
    assert CLIENT_SECRET in found([CLIENT_SECRET], told(caught.value))


def test_nothing_that_holds_a_token_shows_it():
    shown = [
        repr(twitch_http.Tokens("acc", "ref")),
        repr(twitch_http.DeviceCode("dev", "user", "uri", 1, 1)),
        repr(settings()),
    ]
    assert not any(secret in text for text in shown for secret in ("acc", "ref", "dev'", CLIENT_SECRET))
