"""What the bus says, to mosquitto and the embedded broker: order, the status, and what an outage may cost."""

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.support.brokers import Collector, free_port
from tests.support.bus import ROOT, hosting, message, seqs, turn, utterance
from tests.support.gate import Gate
from vtuber_brain.bus.topics import Status
from vtuber_brain.messages import Cue, Drop, Dropped, Judged, Verdict

ROOT_FOLDER = Path(__file__).parents[2]


async def test_what_was_said_arrives_in_order_and_nothing_else_does(broker):
    async with Collector(broker.port) as collector, hosting(broker.port) as host:
        for seq in range(100):
            await host.bus.emit(utterance(seq, cue=Cue("smile", 0.5, seq) if seq % 10 == 0 else None))
            await host.bus.emit(Dropped(message(), Drop.TOO_OLD))
            await host.bus.emit(Judged(message(), Verdict("deny", ("toxic",), "")))
        await host.bus.emit(Cue("wave"))
        await host.bus.emit(turn())
        await collector.until(lambda: collector.on("reply"))
        said = [(one.channel, one.payload.get("seq", one.payload.get("for_ms"))) for one in collector.received]
        expected = []
        for seq in range(100):
            expected += [("utterance", seq)] + ([("cue", seq)] if seq % 10 == 0 else [])
        assert said == [*expected, ("cue", 2000), ("reply", None)]
        assert {one.topic for one in collector.received} == {f"{ROOT}/{name}" for name in ("utterance", "cue", "reply")}
        assert not any(one.retain for one in collector.received)


async def test_emit_does_not_wait_for_a_broker_that_is_not_there():
    async with hosting(free_port()) as host:
        await asyncio.wait_for(host.bus.emit(utterance(0)), 0.2)
        await host.down()
        assert "refused" in host.states[-1][1].lower()
        assert await host.bus.drain(0.05) is False
        assert host.metrics.bus_connects._value.get() == 0


async def test_the_status_greets_whoever_comes_later_and_says_offline_at_the_end(broker):
    async with hosting(broker.port, "Mori Rin") as host:
        host.bus.set_status(Status(state="muted", persona="Mori Rin", engine="local", release="r-3"))
        assert await host.bus.drain(10)
        async with Collector(broker.port) as late:
            await late.until(lambda: late.received)
            (first,) = late.received
            assert (first.topic, first.retain) == ("vtuber/Mori_Rin/v1/status", True)
            assert {**first.payload, "since": 0} == {
                "state": "muted", "persona": "Mori Rin", "release": "r-3", "engine": "local", "since": 0,
            }  # fmt: skip
    async with Collector(broker.port) as later:
        await later.until(lambda: later.on("status"))
        assert later.received[0].retain
        assert later.on("status")[0]["state"] == "offline"
        assert later.on("status")[0]["since"] >= first.payload["since"]


async def test_a_state_that_lasts_keeps_its_since_and_is_published_once(broker):
    async with Collector(broker.port) as collector, hosting(broker.port) as host:
        for state, release in [("online", None), ("online", None), ("online", "r-1"), ("muted", "r-1")]:
            host.bus.set_status(Status(state=state, persona="mori", release=release))
            assert await host.bus.drain(10)
        await collector.until(lambda: len(collector.on("status")) >= 3)
        told = collector.on("status")
        assert [(one["state"], one["release"]) for one in told] == [
            ("online", None),
            ("online", "r-1"),
            ("muted", "r-1"),
        ]
        assert told[0]["since"] == told[1]["since"] < told[2]["since"]


async def test_a_killed_daemon_is_declared_offline_by_the_broker(broker):
    async with Collector(broker.port) as collector:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bus.publisher", str(broker.port), stdout=subprocess.PIPE, cwd=ROOT_FOLDER
        )
        assert await process.stdout.readline() == b"up\n"
        process.kill()
        await process.wait()
        await collector.until(lambda: len(collector.on("status")) == 2)
        assert [one["state"] for one in collector.on("status")] == ["online", "offline"]
        assert seqs(collector) == [0]
    async with Collector(broker.port) as late:
        await late.until(lambda: late.received)
        assert late.received[0].retain
        assert late.on("status") == [
            {"state": "offline", "persona": "mori", "release": None, "engine": None, "since": None}
        ]


async def test_a_broker_that_was_away_gets_the_newest_and_the_rest_is_counted(broker):
    async with Gate(broker.port) as gate, hosting(gate.port, queue=4) as host:
        host.bus.set_status(Status(state="online", persona="mori"))
        await host.up()
        assert await host.bus.drain(10)
        gate.close()
        await broker.stop()
        await host.down()
        for seq in range(10):
            await host.bus.emit(utterance(seq))
        assert host.dropped("full") == 6
        await broker.start()
        async with Collector(broker.port) as collector:
            gate.open()
            await host.up(times=2)
            await collector.until(lambda: len(seqs(collector)) == 4)
            assert collector.received[0].payload["state"] == "online"
            assert seqs(collector) == [6, 7, 8, 9]
        assert host.metrics.bus_connects._value.get() == 2


async def test_words_too_old_are_dropped_at_reconnection_and_records_are_not(broker):
    async with Gate(broker.port) as gate, Collector(broker.port) as collector:
        gate.close()
        async with hosting(gate.port, max_age_s=0.001, timeout_s=0.3) as host:
            await host.bus.emit(utterance(0, cue=Cue("smile")))
            await host.bus.emit(turn())
            await host.down()
            gate.open()
            await collector.until(lambda: collector.on("reply"))
            assert seqs(collector) == []
            assert host.dropped("stale") == 2


async def test_what_the_broker_did_not_acknowledge_is_sent_again_and_keeps_its_place(broker):
    async with (
        Gate(broker.port) as gate,
        Collector(broker.port) as collector,
        hosting(gate.port, timeout_s=0.3) as host,
    ):
        await host.up()
        await host.bus.emit(utterance(0))
        assert await host.bus.drain(10)
        gate.swallow()
        for seq in (1, 2, 3):
            await host.bus.emit(utterance(seq))
        await gate.swallowed.wait()
        await host.down()
        gate.open()
        await host.up(times=2)
        assert await host.bus.drain(10)
        await collector.until(lambda: 3 in seqs(collector))
        assert seqs(collector) == [0, 1, *[1] * (len(seqs(collector)) - 4), 2, 3]
        assert len(seqs(collector)) >= 5
        assert host.dropped("full") == host.dropped("stale") == 0


async def test_a_connection_cut_in_a_burst_loses_nothing(broker):
    async with Gate(broker.port) as gate, Collector(broker.port) as collector, hosting(gate.port, queue=1000) as host:
        await host.up()
        for seq in range(400):
            await host.bus.emit(utterance(seq))
        await collector.until(lambda: len(seqs(collector)) > 50)
        gate.close()
        await host.down()
        gate.open()
        await collector.until(lambda: 399 in seqs(collector))
        came = seqs(collector)
        assert list(dict.fromkeys(came)) == list(range(400))
        assert len(came) <= 401
