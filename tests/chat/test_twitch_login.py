"""Logging in by device code, the file the tokens live in, and the commands around it."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chat.twitch_stage import CHAT, log_in, mocked, settings, tokens
from tests.support.twitch_mock import BOT_ID, CHANNEL_ID, CLIENT_ID, Answer
from vtuber_brain import twitch_commands
from vtuber_brain.chat.twitch import api as twitch_api
from vtuber_brain.chat.twitch import http as twitch_http
from vtuber_brain.chat.twitch.api import open_api
from vtuber_brain.chat.twitch.login import login, logout, standings
from vtuber_brain.chat.twitch.tokens import Account, TokenFile
from vtuber_brain.chat.twitch.topics import BROADCASTER_SCOPES
from vtuber_brain.config import load
from vtuber_brain.errors import ConfigError, Refused, Unavailable

ROOT = Path(__file__).parents[2]
ACCOUNT = Account("2000", "mori_bot", "acc-1", "ref-1", ("user:read:chat",))


@pytest.fixture
async def twitch(monkeypatch):
    async with mocked(monkeypatch) as server:
        yield server


@pytest.mark.parametrize(("broadcaster", "user_id"), [(False, BOT_ID), (True, CHANNEL_ID)])
async def test_a_confirmed_code_becomes_a_login_that_is_kept(twitch, broadcaster, user_id):
    shown = []

    def confirm(code):
        shown.append(code)
        twitch.confirmed = user_id

    account = await login(settings(), broadcaster=broadcaster, show=confirm)
    assert (shown[0].user_code, shown[0].uri.startswith("https://")) == ("ABCDEFGH", True)
    assert set(account.scopes) == {*CHAT, *(BROADCASTER_SCOPES if broadcaster else ())}
    assert tokens().load() == {user_id: account}
    assert stat.S_IMODE(tokens().path.stat().st_mode) == 0o600


async def test_it_asks_again_while_nobody_has_confirmed(twitch):
    async def confirm_later():
        await twitch.until(lambda: len([1 for request in twitch.requests if request[1] == "/oauth2/token"]) >= 3)
        twitch.confirmed = BOT_ID

    async with asyncio.TaskGroup() as group:
        group.create_task(confirm_later())
        group.create_task(login(settings(), broadcaster=False, show=lambda _: None))
    assert list(tokens().load()) == [BOT_ID]


async def test_a_code_that_nobody_confirms_is_given_up(twitch):
    with pytest.raises(Refused, match="not confirmed in time"):
        await login(settings(), broadcaster=False, show=lambda _: None)
    assert not tokens().path.exists()


async def test_an_unknown_application_and_a_refusal_are_said(twitch):
    with pytest.raises(Refused, match=r"twitch\.client_id"):
        await login(settings(client_id="another"), broadcaster=False, show=lambda _: None)
    twitch.fail("/oauth2/token", Answer(400, "access_denied"))
    with pytest.raises(Refused, match="access_denied"):
        await login(settings(), broadcaster=False, show=lambda _: None)


async def test_without_a_client_id_the_settings_are_wrong():
    with pytest.raises(ConfigError, match=r"twitch\.client_id"):
        await login(settings(client_id=""), broadcaster=False, show=lambda _: None)


async def test_standings_tell_what_is_missing_and_what_is_worthless(twitch):
    log_in(twitch)
    log_in(twitch, CHANNEL_ID, (*CHAT, "bits:read"))
    bot, channel = [standing async for standing in standings(settings())]
    assert (bot.login, bot.missing, bot.worthless) == ("mori_bot", (), None)
    assert channel.missing == ("moderator:read:followers", "channel:read:redemptions")
    twitch.withdraw(BOT_ID)
    bot, _ = [standing async for standing in standings(settings())]
    assert "vtuber-brain twitch login" in bot.worthless


async def test_logging_out_revokes_and_forgets(twitch):
    log_in(twitch)
    access = tokens().load()[BOT_ID].access
    assert await logout(settings()) == ["mori_bot"]
    assert access not in twitch.grants
    assert not tokens().path.exists()


def test_the_commands_say_what_they_did_and_never_a_token(twitch_settings, monkeypatch, capsys):
    async def run():
        async with mocked(monkeypatch) as server:
            server.confirmed = BOT_ID
            await asyncio.to_thread(twitch_commands.login, config=twitch_settings)
            good = await asyncio.to_thread(twitch_commands.status, config=twitch_settings)
            await asyncio.to_thread(twitch_commands.logout, config=twitch_settings)
            left = await asyncio.to_thread(twitch_commands.status, config=twitch_settings)
            return good, left, server.secrets()

    good, left, secrets = asyncio.run(run())
    out = capsys.readouterr().out
    assert (good, left) == (twitch_commands.DONE, twitch_commands.FAILED)
    assert "confirm the code ABCDEFGH" in out
    assert "mori_bot is logged in" in out
    assert "mori_bot: good" in out
    assert "logged out: mori_bot" in out
    assert not any(secret in out for secret in secrets)


@pytest.fixture
def twitch_settings(tmp_path):
    file = tmp_path / "brain.toml"
    file.write_text(f'[twitch]\nenabled = true\nchannel = "mori_channel"\nclient_id = "{CLIENT_ID}"\n')
    return file


def test_tokens_are_kept_by_whole_file_for_the_owner_alone_and_shown_nowhere(tmp_path):
    file = TokenFile(tmp_path / "deep" / "twitch.json", "app")
    file.put(ACCOUNT)
    file.put(Account("1000", "mori_channel", "acc-2", "ref-2", ()))
    file.put(Account("2000", "mori_bot", "acc-3", "ref-3", ("user:read:chat",)))
    assert [account.access for account in file.load().values()] == ["acc-3", "acc-2"]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert os.listdir(file.path.parent) == ["twitch.json"]  # noqa: PTH208
    assert "acc" not in repr(file.load())
    assert "ref-" not in repr(file.load())


def test_who_reads_the_file_while_it_changes_reads_the_whole_of_the_old_one(tmp_path):
    file = TokenFile(tmp_path / "t.json", "app")
    file.put(ACCOUNT)
    before = file.path.read_text()
    with file.path.open() as reading:
        file.put(Account("2000", "mori_bot", "acc-2", "ref-2", ()))
        assert reading.read() == before


def test_another_application_s_tokens_are_none_of_ours(tmp_path):
    TokenFile(tmp_path / "t.json", "theirs").put(ACCOUNT)
    ours = TokenFile(tmp_path / "t.json", "ours")
    assert ours.load() == {}
    ours.put(ACCOUNT)
    assert list(ours.load()) == ["2000"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"client_id": "app", "accounts": [{"user_id": 1}]}'])
def test_a_damaged_file_is_refused_with_the_command_and_a_login_replaces_it(tmp_path, content):
    file = TokenFile(tmp_path / "t.json", "app")
    file.path.write_text(content)
    with pytest.raises(Refused, match="vtuber-brain twitch login"):
        file.load()
    file.put(ACCOUNT)
    assert list(file.load()) == ["2000"]


def test_a_kill_at_any_moment_leaves_the_old_tokens_or_the_new(tmp_path):
    file = TokenFile(tmp_path / "t.json", "app")
    file.put(ACCOUNT)
    code = """
import sys, pathlib
from vtuber_brain.chat.twitch.tokens import Account, TokenFile
file = TokenFile(pathlib.Path(sys.argv[1]), "app")
for n in range(10**6):
    file.put(Account("2000", "mori_bot", f"acc-{n}" * 20_000, f"ref-{n}" * 20_000, ()))
    n == int(sys.argv[2]) and print("go", flush=True)
"""
    for count in range(5):
        run = [sys.executable, "-c", code, file.path, str(count)]
        writer = subprocess.Popen(run, stdout=subprocess.PIPE, cwd=ROOT)
        writer.stdout.readline()
        writer.kill()
        writer.wait()
        writer.stdout.close()
        (account,) = file.load().values()
        assert account.access.replace("acc", "ref") == account.refresh


async def test_many_who_need_a_new_token_at_once_cost_one_renewal(twitch):
    log_in(twitch)
    twitch.expire()
    async with open_api(settings(), tokens()) as api:
        ids = await asyncio.gather(*(api.user_id("mori_channel", BOT_ID) for _ in range(10)))
    assert ids == [CHANNEL_ID] * 10
    assert len([1 for request in twitch.requests if request[1] == "/oauth2/token"]) == 1


async def test_a_renewal_goes_on_when_who_asked_for_it_is_gone_and_is_kept(twitch):
    log_in(twitch)
    twitch.expire()
    async with open_api(settings(), tokens()) as api:
        asking = asyncio.create_task(api.user_id("mori_channel", BOT_ID))
        await twitch.until(lambda: any(request[1] == "/helix/users" for request in twitch.requests))
        while not api._renewals:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert twitch.refreshes == 1
    assert tokens().load()[BOT_ID].access in twitch.grants


async def test_a_login_made_meanwhile_is_taken_over(twitch):
    log_in(twitch)
    async with open_api(settings(), tokens()) as api:
        twitch.withdraw()
        log_in(twitch)
        assert await api.user_id("mori_channel", BOT_ID) == CHANNEL_ID


async def test_a_token_that_is_about_to_expire_is_renewed_ahead_of_time(twitch):
    log_in(twitch, expires_in=twitch_api.RENEW_BEFORE_S - 1)
    async with open_api(settings(), tokens()) as api:
        await api.check(BOT_ID)
    assert twitch.refreshes == 1


async def test_tokens_that_cannot_be_kept_are_used_all_the_same(twitch, capsys):
    log_in(twitch)
    twitch.expire()
    async with open_api(settings(), tokens()) as api:
        file = tokens().path
        file.unlink()
        file.mkdir()
        assert await api.user_id("mori_channel", BOT_ID) == CHANNEL_ID
    assert "twitch_login_not_kept" in capsys.readouterr().out


async def test_a_login_of_another_client_id_is_refused(twitch, monkeypatch):
    log_in(twitch)
    raw = {"client_id": "theirs", "login": "mori_bot", "scopes": [], "user_id": BOT_ID, "expires_in": 9000}
    twitch.fail("/oauth2/validate", Answer(200, raw=json.dumps(raw)))
    async with open_api(settings(), tokens()) as api:
        with pytest.raises(Refused, match="another client id"):
            await api.check(BOT_ID)


async def test_when_twitch_cannot_be_had_the_command_says_so(twitch, monkeypatch):
    monkeypatch.setattr(twitch_http.Route, "ID_BASE", "http://127.0.0.1:9/")
    monkeypatch.setattr(twitch_http, "PATIENCE_S", 0.0)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await login(settings(), broadcaster=False, show=lambda _: None)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("enabled = true", {"twitch.channel", "twitch.client_id"}),
        ('enabled = true\nchannel = "a"\nclient_id = "b"\nsilence_s = 10', {"twitch.silence_s"}),
        ('channel = "Not A Login"', {"twitch.channel"}),
    ],
)
def test_contradictions_in_the_settings_are_named(tmp_path, lines, named):
    file = tmp_path / "brain.toml"
    file.write_text(f"[twitch]\n{lines}\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert named <= {problem.where.split(": ")[-1] for problem in caught.value.problems}


def test_who_does_not_use_twitch_does_not_import_it():
    code = "import sys, vtuber_brain.app, vtuber_brain.cli, vtuber_brain.twitch_commands\n"
    code += "print({'twitchio', 'aiohttp'} & set(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert told.stdout.strip() == "set()"
