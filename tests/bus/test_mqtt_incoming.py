"""What the bus hears: commands are obeyed in order and answered once, playback is passed on."""

import asyncio

from tests.support.brokers import Collector
from tests.support.bus import ROOT, hosting
from vtuber_brain.bus import mqtt
from vtuber_brain.bus.control import answer
from vtuber_brain.errors import BrainError


async def test_commands_are_obeyed_in_order_and_each_is_answered_once(broker):
    async with Collector(broker.port) as collector, hosting(broker.port) as host:
        await host.up()
        sent = [
            {"command": "mute", "id": "a"},
            {"command": "say", "text": "Hi.", "id": "b"},
            {"command": "persona", "name": "rin"},
            {"command": "skip", "id": "d"},
            {"command": "unmute", "id": "e"},
        ]
        for command in sent:
            await collector.send(f"{ROOT}/control", command)
        await collector.until(lambda: len(collector.on("control/result")) == 5)
        assert [control.model_dump(exclude_none=True) for control in host.controls] == sent
        assert collector.on("control/result") == [
            {"id": one.get("id"), "command": one["command"], "ok": True, "code": "ok", "detail": "", "data": None}
            for one in sent
        ]


async def test_a_mute_and_the_player_overtake_a_command_that_takes_long(broker):
    done = asyncio.Event()

    async def act(command):
        if command.command == "persona":
            await done.wait()
        return answer(command)

    async with Collector(broker.port, f"{ROOT}/control/result") as collector, hosting(broker.port) as host:
        host.answers = act
        await host.up()
        for command in ({"command": "persona", "name": "rin"}, {"command": "wake"}, {"command": "mute"}):
            await collector.send(f"{ROOT}/control", command)
        await collector.until(lambda: collector.received)
        assert [one["command"] for one in collector.on("control/result")] == ["mute"]
        done.set()
        await collector.until(lambda: len(collector.received) == 3)
        assert [one["command"] for one in collector.on("control/result")] == ["mute", "persona", "wake"]


async def test_a_mute_does_not_wait_for_what_the_player_has_said(broker):
    async with Collector(broker.port, f"{ROOT}/control/result") as collector, hosting(broker.port) as host:
        host.listens.clear()
        await host.up()
        for seq in range(3):
            await collector.send(f"{ROOT}/playback", {"reply_id": "r", "seq": seq, "state": "finished", "at": 1.0})
        await host.until(lambda: host.playback)
        await collector.send(f"{ROOT}/control", {"command": "mute"})
        await collector.until(lambda: collector.received)
        assert [one.seq for one in host.playback] == [0]
        host.listens.set()
        await host.until(lambda: len(host.playback) == 3)


async def test_what_is_no_command_is_answered_with_bad_message(broker):
    async with Collector(broker.port, f"{ROOT}/control/result") as collector, hosting(broker.port) as host:
        await host.up()
        for payload in [b"\xff", b"{", b"", b'{"command": "dance", "id": "7"}', b'{"command": "say"}', b"x" * 20000]:
            await collector.send(f"{ROOT}/control", payload)
        await collector.send(f"{ROOT}/control", {"command": "mute"})
        await collector.until(lambda: len(collector.received) == 7)
        answers = collector.on("control/result")
        assert [one["code"] for one in answers] == [*["bad_message"] * 6, "ok"]
        assert (answers[3]["id"], answers[3]["command"]) == ("7", "dance")
        assert "say.text: Field required" in answers[4]["detail"]
        assert len(host.controls) == 1


async def test_a_retained_command_is_not_obeyed(broker):
    async with Collector(broker.port, f"{ROOT}/control/result") as collector:
        await collector.send(f"{ROOT}/control", {"command": "mute", "id": "9"}, retain=True)
        async with hosting(broker.port) as host:
            await collector.until(lambda: collector.received)
            assert {**collector.on("control/result")[0], "detail": ""} == {
                "id": "9", "command": "mute", "ok": False, "code": "stale", "detail": "", "data": None,
            }  # fmt: skip
            assert host.controls == []


async def test_a_command_that_fails_or_hangs_is_answered_and_the_next_is_obeyed(broker, monkeypatch):
    monkeypatch.setattr(mqtt, "CONTROL_TIMEOUT_S", 0.05)

    def act(control):
        if control.command == "persona":
            raise BrainError("there is no persona rin")
        return asyncio.Event().wait() if control.command == "skip" else answer(control, "muted", "not now")

    async with Collector(broker.port, f"{ROOT}/control/result") as collector, hosting(broker.port) as host:
        host.answers = act
        await host.up()
        for command in [{"command": "persona", "name": "rin"}, {"command": "skip"}, {"command": "unmute"}]:
            await collector.send(f"{ROOT}/control", command)
        await collector.until(lambda: len(collector.received) == 3)
        told = [(one["ok"], one["code"], one["detail"]) for one in collector.on("control/result")]
        assert told[0] == (False, "failed", "there is no persona rin")
        assert told[1][:2] == (False, "timeout")
        assert told[2] == (False, "muted", "not now")


async def test_more_than_can_wait_is_turned_away(broker, monkeypatch):
    monkeypatch.setattr(mqtt, "MAX_INCOMING", 4)
    release = asyncio.Event()

    async def slow(control):
        await release.wait()
        return answer(control)

    async with Collector(broker.port, f"{ROOT}/control/result") as collector, hosting(broker.port) as host:
        host.answers = slow
        await host.up()
        await collector.send(f"{ROOT}/control", {"command": "skip", "id": "0"})
        await host.until(lambda: host.controls)
        for number in range(1, 8):
            await collector.send(f"{ROOT}/control", {"command": "skip", "id": str(number)})
        host.listens.clear()
        for seq in range(6):
            await collector.send(f"{ROOT}/playback", {"reply_id": "r", "seq": seq, "state": "started", "at": 1.0})
            await host.until(lambda: host.playback)
        await collector.send(f"{ROOT}/control", {"command": "skip", "id": "8"})
        await collector.until(lambda: len(collector.received) == 4)
        assert [one["code"] for one in collector.on("control/result")] == ["busy"] * 4
        assert host.metrics.errors.labels("bus_playback")._value.get() == 1
        release.set()
        await collector.until(lambda: len(collector.received) == 9)
        assert [one["id"] for one in collector.on("control/result")] == ["5", "6", "7", "8", "0", "1", "2", "3", "4"]


async def test_playback_is_heard_in_order_and_nonsense_is_counted(broker):
    async with Collector(broker.port) as collector, hosting(broker.port) as host:
        await host.up()
        said = [{"reply_id": "r1", "seq": 0, "state": state, "at": 1.5} for state in ("started", "finished", "skipped")]
        await collector.send(f"{ROOT}/playback", said[0])
        await collector.send(f"{ROOT}/playback", {**said[1], "state": "sung"})
        await collector.send(f"{ROOT}/playback", b"{")
        await collector.send(f"{ROOT}/playback", said[1])
        await collector.send(f"{ROOT}/playback", said[2])
        await host.until(lambda: len(host.playback) == 3)
        assert [one.model_dump() for one in host.playback] == said
        assert host.metrics.errors.labels("bus_playback")._value.get() == 2
