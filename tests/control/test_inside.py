"""The API asked from within: the same guard, the same roles, the same audit, and nobody outside can pretend to it."""

import aiohttp
import pytest

from tests.support.operators import operated
from tests.support.scripted import message
from vtuber_brain.control.inside import Inside
from vtuber_brain.control.tokens import Who

OWNER, VIEWER = Who("owner", "abcd", "127.0.0.1"), Who("viewer", "ef01", "127.0.0.1")


def inside(one):
    return Inside(one.app._inner._app)


async def test_it_obeys_those_who_may_and_writes_down_both():
    async with operated() as one:
        asked = inside(one)
        told = await asked.ask(VIEWER, "POST", "/v1/mute")
        assert (told.status, told.body["code"], one.pipeline.muted) == (403, "forbidden", False)
        assert "moderator" in told.detail
        told = await asked.ask(OWNER, "POST", "/v1/mute")
        assert (told.ok, one.pipeline.muted) == (True, True)
        entries = [(entry["token"], entry["action"], entry["outcome"]) for entry in one.audit.latest(10)]
        assert entries == [("abcd", "mute", "ok"), ("ef01", "mute", "forbidden")]


async def test_bodies_questions_and_names_with_signs_in_them_come_through():
    async with operated() as one:
        asked = inside(one)
        assert (await asked.ask(OWNER, "POST", "/v1/blocklist", {"entry": "wug"})).ok
        assert (await asked.ask(OWNER, "DELETE", "/v1/blocklist?entry=wug")).ok
        assert (await asked.ask(OWNER, "POST", "/v1/blocklist", {"entry": ""})).status == 422
        one.pipeline.door.hold(message("Alright?", number="h/2 é"), one.judge.by_rules(message("ok")))
        assert (await asked.ask(OWNER, "POST", "/v1/held/h%2F2%20%C3%A9/deny", {"source": "websocket"})).ok
        assert (await asked.ask(OWNER, "GET", "/v1/held")).body == {"held": []}


async def test_who_asks_too_often_is_told_so_here_too():
    async with operated(burst=3, requests_per_s=0.01) as one:
        asked = inside(one)
        statuses = [(await asked.ask(OWNER, "GET", "/v1/state")).status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert (await asked.ask(OWNER, "POST", "/v1/mute")).ok, "a mute is never counted"


async def test_without_a_panel_there_is_no_socket():
    async with operated() as one:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await one.http.ws_connect(f"{one.url}/_nicegui_ws/socket.io/", origin=one.url)
