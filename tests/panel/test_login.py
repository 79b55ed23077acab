"""Who gets in: by token, ticket or cookie; what a stranger gets; what other sites can do with somebody's browser."""

import asyncio
import time

import aiohttp
import pytest
import pytest_asyncio

from vtuber_brain.control.sessions import COOKIE, LASTS_S, Sessions
from vtuber_brain.control.tokens import Role, Tokens, Who
from vtuber_brain.panel.tickets import GOOD_FOR_S, MAX_TICKETS, Tickets

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def entered(show, http, role="owner", **options):
    """What a login answers, unfollowed."""
    return await http.get(f"{show.url}/login?token={show.tokens[role]}", allow_redirects=False, **options)


async def session(show, http, role="owner"):
    answer = await entered(show, http, role)
    return {"Cookie": f"{COOKIE}={answer.cookies[COOKIE].value}"}


async def test_a_link_becomes_a_cookie_no_script_can_read_and_the_token_leaves_the_address(show, http):
    answer = await entered(show, http)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert show.tokens["owner"] not in cookie
    async with http.get(f"{show.url}/", headers=await session(show, http)) as page:
        assert page.status == 200
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


async def test_a_stranger_sees_the_form_and_nothing_else_of_the_panel(show, http):
    async with http.get(f"{show.url}/") as page:
        assert str(page.url) == f"{show.url}/login"
        assert 'name="token"' in await page.text()
    for path in ("/night", "/_nicegui/anything", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
        async with http.get(show.url + path) as answer:
            assert answer.status == 401, path
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect(f"{show.url}/_nicegui_ws/socket.io/?EIO=4&transport=websocket", origin=show.url)


async def test_a_socket_of_another_site_or_of_none_is_turned_away_with_the_cookie_too(show, http):
    headers = await session(show, http)
    address = f"{show.url}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    for origin in ("http://evil.example", None):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(address, headers=headers, origin=origin)
    async with http.ws_connect(address, headers=headers, origin=show.url) as socket, asyncio.timeout(10):
        assert (await socket.receive()).data.startswith("0")


async def test_the_api_takes_no_cookie(show, http):
    async with http.post(f"{show.url}/v1/mute", headers=await session(show, http)) as answer:
        assert answer.status == 401
    async with http.get(f"{show.url}/v1/nothing", headers=await session(show, http)) as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "not_found")


async def test_a_token_given_in_the_form_lets_in_and_one_of_nobodys_does_not(show, http):
    good, bad = {"token": show.tokens["viewer"]}, {"token": "nobody-has-this"}
    async with http.post(f"{show.url}/login", data=good, allow_redirects=False) as answer:
        assert (answer.status, COOKIE in answer.cookies) == (303, True)
    async with http.post(f"{show.url}/login", data=bad, allow_redirects=False) as answer:
        assert (answer.status, COOKIE in answer.cookies) == (401, False)
        assert "Nobody has this token." in await answer.text()
    async with http.post(f"{show.url}/login", data=good, headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 403


async def test_a_session_ends_by_a_form_of_ours_alone(show, http):
    headers = await session(show, http)
    async with http.get(f"{show.url}/logout", headers=headers, allow_redirects=False) as answer:
        assert COOKIE not in answer.cookies
    async with http.post(f"{show.url}/logout", headers=headers, allow_redirects=False) as answer:
        assert answer.cookies[COOKIE].value == ""


def sessions(owner="o" * 16, viewer="v" * 16):
    return Sessions(Tokens({Role.OWNER: owner, Role.VIEWER: viewer}))


async def test_a_session_is_its_tokens_for_a_week_and_cannot_be_bettered_or_prolonged():
    now, ours = time.time(), sessions()
    name = ours.owner("").token
    cookie = ours.begin(Who("owner", name), now)
    assert ours.who(cookie, "127.0.0.1", now) == Who("owner", name, "127.0.0.1")
    assert sessions().who(cookie, "", now) is not None, "it outlives a restart"
    assert sessions(owner="p" * 16).who(cookie, "", now) is None, "and ends with its token"
    assert ours.who(cookie, "", now + LASTS_S + 1) is None
    fingerprint, until, signature = cookie.split(".")
    for forged in (
        "",
        "..",
        f"{fingerprint}.{int(until) + 9}.{signature}",
        f"{fingerprint}.{until}.{'0' * 64}",
        "é.1.é",
    ):
        assert ours.who(forged, "", now) is None, forged
    viewers = next(key for role, key in Tokens({Role.VIEWER: "v" * 16}).known if role is Role.VIEWER).hex()[:8]
    assert ours.who(f"{viewers}.{until}.{signature}", "", now) is None


async def test_a_ticket_is_good_once_and_not_for_long():
    now = [0.0]
    tickets = Tickets(lambda: now[0])
    ticket = tickets.issue()
    assert tickets.take(ticket)
    assert not tickets.take(ticket)
    late = tickets.issue()
    now[0] = GOOD_FOR_S + 1
    assert not tickets.take(late)
    first = tickets.issue()
    for _ in range(MAX_TICKETS):
        tickets.issue()
    assert not tickets.take(first)
