"""The operator's end: one command and its own answer, and a clear word when nobody is there."""

import asyncio

import pytest

from tests.support.brokers import Collector, bus_settings, free_port
from tests.support.bus import ROOT, hosting
from vtuber_brain.bus.control import Mute, Personas, UsePersona, answer
from vtuber_brain.bus.order import order
from vtuber_brain.bus.topics import Status
from vtuber_brain.errors import BrainError, Unavailable

LIST = Personas(command="personas")


def online(host):
    host.bus.set_status(Status(state="online", persona="mori"))


async def test_each_who_orders_gets_their_own_answer_with_its_data(broker):
    async with hosting(broker.port) as host:
        host.answers = lambda command: answer(command, data={"name": getattr(command, "name", None)})
        online(host)
        await host.up()
        commands = [UsePersona(command="persona", name=f"rin-{n}") for n in range(4)]
        results = await asyncio.gather(*(order(bus_settings(broker.port), "mori", command) for command in commands))
        assert [result.data for result in results] == [{"name": f"rin-{n}"} for n in range(4)]
        assert all(result.ok for result in results)
        assert sorted(command.name for command in host.controls) == [f"rin-{n}" for n in range(4)]


async def test_a_refusal_comes_back_with_its_reason(broker):
    def refuse(_command):
        raise BrainError("there is no persona rin")

    async with hosting(broker.port) as host:
        host.answers = refuse
        online(host)
        await host.up()
        result = await order(bus_settings(broker.port), "mori", UsePersona(command="persona", name="rin"))
        assert (result.ok, result.code, result.detail) == (False, "failed", "there is no persona rin")


async def test_a_broker_that_is_not_there_is_named():
    port = free_port()
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}: .*refused"):
        await order(bus_settings(port), "mori", LIST)


async def test_no_daemon_and_one_that_has_left_are_not_waited_for_long(broker, monkeypatch):
    monkeypatch.setattr("vtuber_brain.bus.order.GREETING_S", 0.2)
    with pytest.raises(Unavailable, match="no daemon is listening"):
        await order(bus_settings(broker.port), "mori", LIST)
    async with hosting(broker.port) as host:
        online(host)
        await host.up()
        assert await host.bus.drain(10)
    async with Collector(broker.port) as collector:
        await collector.until(lambda: collector.on("status"))
        assert collector.on("status")[-1]["state"] == "offline"
    with pytest.raises(Unavailable, match="no daemon is listening"):
        await order(bus_settings(broker.port), "mori", Mute(command="mute"))


async def test_a_daemon_that_does_not_answer_is_given_up_and_other_answers_are_not_ours(broker):
    async with Collector(broker.port) as collector:
        online_now = Status(state="online", persona="mori").model_dump_json()
        await collector.send(f"{ROOT}/status", online_now, retain=True)
        asking = asyncio.create_task(order(bus_settings(broker.port), "mori", LIST, 0.5))
        await collector.until(lambda: collector.on("control"))
        other = {"id": "another", "command": "personas", "ok": True, "code": "ok", "detail": "", "data": None}
        await collector.send(f"{ROOT}/control/result", other)
        await collector.send(f"{ROOT}/control/result", b"not json")
        with pytest.raises(Unavailable, match=r"no answer on .* within 0.5 s"):
            await asking
