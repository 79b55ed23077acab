"""Every part killed, hung, slow, talking garbage or full, in real processes: docs/operations.md has the table.

What is not here stands in test_faults.py, and where a part is tried alone, in that part's tests.
"""

import asyncio
import resource
import signal
import sqlite3
import time

import psutil
import pytest

from tests.support.brokers import Collector, Mosquitto, free_port
from tests.support.daemon import Daemon, viewer
from tests.support.faults import Faults, nonsense_server

CALM = "[sentiment]\ntimeout_s = 20\nspeak_timeout_s = 20\n"
WATCHFUL = CALM + "[engine]\nslow_s = 0.5\ndead_s = 3\nping_s = 0.2\nbackoff_s = 0.1\n"
LONG = "Mori, tell me a very long story about all the lost keys you ever found."


FAULTS = {"engine_down", "canned", "stale", "deadline", "judge_unavailable", "stopping", "muted"}
"""Reasons that tell of a fault. That the gate kept a sentence back is none: a small model says all sorts of things."""


class Steady(Daemon):
    """One that has its classifier, too, when a test begins."""

    async def start(self, until="started"):
        await super().start(until)
        await self.event("part_up", part="classifier")


async def answered(chat, number, text, *, author="nadia", timeout_s=60):
    """How the reply to a message of this id ended, as (outcome, reason)."""
    await chat.say(number, text, author=author)
    reply = await chat.until("reply", in_reply_to=str(number), timeout_s=timeout_s)
    return reply["outcome"], reply["reason"]


async def talks(chat, number, text, **fields):
    """Whether she answered a message as she would without any fault."""
    outcome, reason = await answered(chat, number, text, **fields)
    return outcome != "failed" and reason not in FAULTS


def state(bus):
    return bus.on("status")[-1]["state"] if bus.on("status") else None


def ups(daemon, part):
    return len([event for event in daemon.log if (event["event"], event.get("part")) == ("part_up", part)])


async def test_a_hung_engine_has_her_say_a_canned_line_and_is_replaced(tmp_path):
    async with (
        Steady(tmp_path, extra=WATCHFUL) as daemon,
        viewer(daemon.url) as chat,
        Collector(daemon.bus_port) as bus,
    ):
        before = ups(daemon, "engine")
        daemon.child("vtuber_brain.engine.worker").send_signal(signal.SIGSTOP)
        await bus.until(lambda: state(bus) == "degraded")
        assert await answered(chat, "one", "Are you still there, Mori?") == ("failed", "canned")
        assert chat.of("utterance")
        await daemon.event("part_up", part="engine", count=before + 1)
        await bus.until(lambda: state(bus) == "online", timeout_s=60)
        assert await talks(chat, "two", "And now, Mori?", author="bram")


@pytest.mark.slow
async def test_an_engine_that_talks_garbage_is_replaced(tmp_path):
    faults = Faults(tmp_path)
    async with Steady(tmp_path, extra=WATCHFUL, env=faults.env) as daemon, viewer(daemon.url) as chat:
        before = ups(daemon, "engine")
        faults.garble_engine()
        await daemon.event("part_up", part="engine", count=before + 1)
        assert await talks(chat, "one", "Good evening, Mori!")


@pytest.mark.slow
async def test_a_slow_engine_is_degraded_and_kept(tmp_path):
    extra = WATCHFUL.replace("dead_s = 3", "dead_s = 20")
    async with Steady(tmp_path, extra=extra) as daemon, viewer(daemon.url) as chat:
        child = daemon.child("vtuber_brain.engine.worker")
        before = ups(daemon, "engine")
        child.send_signal(signal.SIGSTOP)
        await daemon.event("part_down", part="engine", count=before + 1)
        child.send_signal(signal.SIGCONT)
        await daemon.event("part_up", part="engine", count=before + 1)
        assert daemon.child("vtuber_brain.engine.worker").pid == child.pid
        assert await talks(chat, "one", "Good evening, Mori!")


@pytest.mark.slow
async def test_a_broker_of_nonsense_then_one_that_hangs_and_she_talks_on_and_leaves_in_time(tmp_path):
    port = free_port()
    env = {"VTB_BUS__TIMEOUT_S": "1"}
    daemon = Steady(tmp_path, broker="external", bus_port=port, extra=CALM, env=env)
    async with nonsense_server(port):
        await daemon.start()
        await daemon.event("part_down", part="bus")
        async with viewer(daemon.url) as chat:
            assert await talks(chat, "one", "Good evening, Mori!")
    async with Mosquitto(port) as broker, viewer(daemon.url) as chat:
        await daemon.event("part_up", part="bus")
        broker._process.send_signal(signal.SIGSTOP)
        try:
            assert await talks(chat, "two", "Are you still there?", author="bram")
            await daemon.event("part_down", part="bus", count=2)
            began_s = time.monotonic()
            assert await daemon.stop() == 0
            assert time.monotonic() - began_s < 20
        finally:
            broker._process.send_signal(signal.SIGCONT)


@pytest.mark.slow
async def test_a_database_that_somebody_holds_is_said_she_talks_on_and_it_is_written_again_afterwards(tmp_path):
    async with Steady(tmp_path, extra=CALM) as daemon, viewer(daemon.url) as chat:
        assert await talks(chat, "one", "Good evening, Mori!")
        holder = sqlite3.connect(daemon.transcripts, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        await chat.say("held", "Are you writing this down?", author="bram")
        assert "locked" in (await daemon.event("part_down", part="transcripts"))["reason"]
        await chat.until("error", id="held", code="unavailable")
        assert await talks(chat, "talk", "Can you still talk, Mori?", author="citra")
        holder.execute("ROLLBACK")
        holder.close()
        await chat.say("after", "And now?", author="dian")
        await chat.until("ack", id="after")
        await daemon.event("part_up", part="transcripts")


@pytest.mark.slow
@pytest.mark.parametrize("by_s", [-3600, 3600])
async def test_a_clock_that_is_set_changes_nothing_of_bans_clears_and_ages(by_s, tmp_path):
    faults = Faults(tmp_path)
    async with (
        Steady(tmp_path, extra=CALM, env={**faults.env, "WATCHDOG_USEC": "500000"}) as daemon,
        viewer(daemon.url) as chat,
    ):
        await chat.say("early", "I am early.", author="early")
        await chat.until("verdict", id="early")
        await chat.send(type="ban", author_id="rude")
        await chat.send(type="clear")
        await chat.until("ack", of="clear")
        faults.shift_clock(by_s)
        assert abs((await daemon.event("clock_jumped"))["by_s"] - by_s) < 60
        assert await talks(chat, "one", "Hello after the clear, Mori!")
        await chat.say("rude", "I am banned.", author="rude")
        await chat.until("dropped", id="rude", reason="banned")
        await chat.send(type="clear")
        await chat.until("ack", of="clear", count=2)
        assert await talks(chat, "two", "Hello once more, Mori!", author="bram")


PLUGIN = """
import asyncio

class Bad:
    def __init__(self, name):
        self.name = name
        self.runs = 0

    async def run(self, deliver):
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError("the source broke")
        await asyncio.get_running_loop().create_future()

    async def judge(self, message):
        return "garbage"

    async def recall(self, message):
        await asyncio.sleep(600)

    async def emit(self, event):
        await asyncio.sleep(600)

async def setup(registry, settings):
    registry.add_source(Bad("chat"))
    registry.add_judge(Bad("judge"))
    registry.add_recall(Bad("recall"))
    registry.add_sink(Bad("sink"))
"""


@pytest.mark.slow
async def test_a_plugin_whose_every_hook_fails_hangs_or_talks_garbage_costs_her_nothing(tmp_path):
    folder = tmp_path / "state" / "plugins" / "bad"
    folder.mkdir(parents=True)
    hooks = '["source", "judge", "recall", "sink"]'
    (folder / "plugin.toml").write_text(f'name = "bad"\nversion = "1"\napi = 1\nsummary = "Bad."\nhooks = {hooks}\n')
    (folder / "__init__.py").write_text(PLUGIN)
    async with Steady(tmp_path, extra=f"{CALM}[plugins.bad]\n") as daemon, viewer(daemon.url) as chat:
        await daemon.event("part_down", part="bad.chat")
        assert await talks(chat, "one", "Good evening, Mori!")
        await daemon.event("part_up", part="bad.chat")


@pytest.mark.slow
async def test_a_hung_engine_does_not_keep_the_daemon_from_leaving(tmp_path):
    extra = CALM + "[speech]\ndrain_s = 1\n"
    async with Steady(tmp_path, extra=extra) as daemon, viewer(daemon.url) as chat:
        child = daemon.child("vtuber_brain.engine.worker")
        await chat.say("one", LONG)
        await chat.until("utterance")
        child.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        assert await daemon.stop() == 0
        assert time.monotonic() - began_s < 12
        assert (await chat.until("reply", in_reply_to="one"))["outcome"] in {"cut", "spoken"}
    await asyncio.to_thread(child.wait, 10)


@pytest.mark.slow
async def test_a_second_signal_cuts_at_once_and_nothing_acknowledged_is_lost(tmp_path):
    extra = CALM + "[speech]\ndrain_s = 60\n"
    async with Steady(tmp_path, extra=extra) as daemon, viewer(daemon.url) as chat, Collector(daemon.bus_port) as bus:
        await chat.say("one", LONG)
        await chat.until("utterance")
        for name in ("engine", "sentiment"):  # neither child would leave when it is asked
            daemon.child(f"vtuber_brain.{name}.worker").send_signal(signal.SIGSTOP)
        daemon.process.send_signal(signal.SIGTERM)
        await daemon.event("draining")
        assert daemon.process.returncode is None
        began_s = time.monotonic()
        daemon.process.send_signal(signal.SIGINT)
        assert await daemon.wait(20) == 0
        assert time.monotonic() - began_s < 8
        await bus.until(lambda: state(bus) == "offline")
    with sqlite3.connect(daemon.transcripts) as database:
        assert database.execute("SELECT count(*) FROM messages WHERE message_id = 'one'").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM streams WHERE ended_at IS NULL").fetchone() == (0,)


async def test_a_reload_while_she_speaks_lets_her_finish(tmp_path):
    async with Steady(tmp_path, extra=CALM) as daemon, viewer(daemon.url) as chat:
        await chat.say("one", LONG)
        await chat.until("utterance")
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.event("reloaded")
        reply = await chat.until("reply", in_reply_to="one")
        assert reply["outcome"] != "failed"
        assert reply["reason"] not in FAULTS
        assert daemon.process.returncode is None


@pytest.mark.slow
async def test_a_flood_on_a_full_disk_fills_no_memory_and_what_was_recorded_goes_on_afterwards(tmp_path):
    """She may write no file at all, while thousands of messages come that are to be stored and recorded."""
    rates = {"VTB_WEBSOCKET__MESSAGES_PER_S": "100000", "VTB_WEBSOCKET__BURST": "100000"}
    extra = f'{CALM}[chat]\nrecord = "{tmp_path}/chat.jsonl"\n'
    async with Steady(tmp_path, extra=extra, env=rates) as daemon, viewer(daemon.url, subscribe=False) as chat:
        process = psutil.Process(daemon.process.pid)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        sizes = []
        for batch in range(4):
            for number in range(2500):
                await chat.say(f"{batch}-{number}", f"Hello number {number} of {batch}", author=f"viewer-{number}")
            await chat.until("error", code="unavailable", count=2500 * (batch + 1), timeout_s=120)
            sizes.append(process.memory_info().rss)
        assert sizes[-1] - sizes[1] < 40 * 2**20, sizes
        for part in ("transcripts", "recording"):
            await daemon.event("part_down", part=part)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await daemon.event("part_up", part="recording")
        await chat.say("after", "And now?", author="dian")
        await chat.until("ack", id="after")
        await daemon.event("part_up", part="transcripts")
