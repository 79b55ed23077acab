"""The client: it gets in, and every way of not getting in is told in words."""

import asyncio

import pytest

from vtuber_brain.chat.client import open_client
from vtuber_brain.chat.frames import AckFrame, ClearFrame
from vtuber_brain.errors import Refused, Unavailable


async def test_speaks_and_hears(brain):
    async with open_client(brain.url, None) as client:
        await client.subscribe()
        await client.send(ClearFrame())
        assert await client.receive() == AckFrame(of="clear")


async def test_nobody_at_home(unused_tcp_port):
    with pytest.raises(Unavailable, match=r"is the daemon running\? Start it with: vtuber-brain run"):
        async with open_client(f"ws://127.0.0.1:{unused_tcp_port}/chat", None):
            pass


async def test_something_else_at_home():
    async def garble(_reader, writer):
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(garble, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Unavailable, match="nothing that speaks chat"):
            async with open_client(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/chat", None):
                pass


async def test_the_wrong_token(serve):
    async with serve(token="s3cret") as brain:
        for token in (None, "wrong"):
            with pytest.raises(Refused, match=r"401.*--token") as refused:
                async with open_client(brain.url, token):
                    pass
            assert "s3cret" not in str(refused.value)
        async with open_client(brain.url, "s3cret") as client:
            await client.subscribe()


async def test_the_wrong_path(brain):
    with pytest.raises(Refused, match=r"404.*/chat"):
        async with open_client(brain.url + "room", None):
            pass


async def test_no_room(serve):
    async with serve(max_connections=1) as brain, open_client(brain.url, None):
        with pytest.raises(Unavailable, match="503"):
            async with open_client(brain.url, None):
                pass


@pytest.mark.parametrize("url", ["http://127.0.0.1/chat", "127.0.0.1:8766", ""])
async def test_what_is_no_address(url):
    with pytest.raises(Refused, match="is not the address of a chat"):
        async with open_client(url, None):
            pass


async def test_a_daemon_that_goes_away(serve):
    async with serve() as brain, open_client(brain.url, None) as client:
        next(task for task in asyncio.all_tasks() if task.get_name() == "chat").cancel()
        with pytest.raises(Unavailable, match=r"closed the connection \(1001\)"):
            await client.receive()
        with pytest.raises(Unavailable):
            await client.send(ClearFrame())


async def test_no_events_for_one_who_sent_too_much(serve):
    async with serve(burst=1, messages_per_s=0.001) as brain, open_client(brain.url, None) as client:
        await client.subscribe()
        with pytest.raises(Unavailable, match="rate_limited"):
            await client.subscribe()
