"""What is killed, stopped or full: noticed, said, survived; and nothing that was acknowledged is lost."""

import asyncio
import resource
import signal
import sqlite3

from tests.support.brokers import Collector, Mosquitto
from tests.support.daemon import Daemon, viewer

QUICK = "[engine]\nbackoff_s = 0.1\n"


async def test_a_killed_engine_fails_its_reply_by_type_and_the_next_message_is_answered(tmp_path):
    async with Daemon(tmp_path, extra=QUICK) as daemon, viewer(daemon.url) as chat:
        await chat.say("one", "Mori, tell me a very long story about all the lost keys you ever found.")
        await chat.until("utterance")
        daemon.child("vtuber_brain.engine.worker").send_signal(signal.SIGKILL)
        await daemon.event("part_down", part="engine")
        first = await chat.until("reply", in_reply_to="one")
        assert (first["outcome"], first["reason"]) in {("failed", "engine_down"), ("spoken", None)}
        await chat.say("two", "Are you still there?")
        second = await chat.until("reply", in_reply_to="two", timeout_s=60)
        assert second["outcome"] == "spoken"
        assert daemon.process.returncode is None


async def test_a_killed_classifier_silences_output_but_not_the_daemon(tmp_path):
    extra = "[sentiment]\ntimeout_s = 0.3\n"
    async with Daemon(tmp_path, extra=extra) as daemon, viewer(daemon.url) as chat:
        child = daemon.child("vtuber_brain.sentiment.worker")
        child.send_signal(signal.SIGSTOP)
        await chat.say("one", "Good evening Mori!")
        reply = await chat.until("reply", in_reply_to="one")
        assert (reply["outcome"], reply["reason"]) == ("refused", "judge_unavailable")
        assert chat.of("utterance") == []
        child.send_signal(signal.SIGKILL)
        await daemon.event("part_up", part="classifier", count=2)
        await chat.say("two", "And now?")
        assert (await chat.until("reply", in_reply_to="two"))["outcome"] == "spoken"


async def test_kill_9_of_the_daemon_loses_no_acknowledged_row_and_leaves_no_orphan(tmp_path):
    daemon = Daemon(tmp_path)
    await daemon.start()
    children = [daemon.child(f"vtuber_brain.{room}.worker") for room in ("engine", "sentiment")]
    async with viewer(daemon.url) as chat:

        async def flood():
            for n in range(400):
                await chat.say(n, f"message {n}", author=f"viewer-{n}")

        sending = asyncio.create_task(flood())
        await chat.until("ack", of="message", count=60)
        await daemon.kill()
        await asyncio.gather(sending, return_exceptions=True)
        acked = {frame["id"] for frame in chat.of("ack", of="message")}
    with sqlite3.connect(daemon.transcripts) as database:
        stored = {row[0] for row in database.execute("SELECT message_id FROM messages")}
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert acked
    assert acked <= stored
    for child in children:
        await asyncio.to_thread(child.wait, 20)


async def test_a_broker_that_stops_for_a_while_is_found_again_and_gets_the_newest(tmp_path):
    async with Mosquitto(persistent=True) as broker:
        daemon = Daemon(tmp_path, broker="external", bus_port=broker.port, env={"VTB_BUS__QUEUE": "4"})
        async with daemon, viewer(daemon.url) as chat, Collector(broker.port, identifier="the-voice") as bus:
            await bus.connected()
            await broker.stop()
            await daemon.event("part_down", part="bus")
            for n in range(6):
                await chat.say(n, f"Hello number {n}", author=f"viewer-{n}")
            replies = [await chat.until("reply", in_reply_to=str(n)) for n in range(6)]
            await broker.start()
            await daemon.event("part_up", part="bus")
            newest = max(replies, key=chat.frames.index)
            await bus.until(lambda: newest["reply_id"] in {reply["reply_id"] for reply in bus.on("reply")})
            assert len(bus.on("reply", "utterance")) <= 4, "the queue holds four: what came before was dropped"
            assert await daemon.stop() == 0


async def test_a_full_disk_is_said_and_she_talks_on(tmp_path):
    """The daemon may write no file longer than it is now: what a full disk says, without filling one."""
    async with Daemon(tmp_path) as daemon, viewer(daemon.url) as chat:
        await chat.say("before", "Hello Mori!")
        await chat.until("ack", id="before")
        limit = daemon.transcripts.stat().st_size
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        numbers = iter(range(1000))
        async with asyncio.timeout(60):
            while not chat.of("error", code="unavailable"):
                n = next(numbers)
                await chat.say(f"during-{n}", "x" * 450 + f" {n}", author=f"viewer-{n}")
                await asyncio.wait_for(asyncio.shield(_answered(chat, n)), 10)
        assert "transcripts" in (await daemon.event("part_down", part="transcripts"))["reason"]
        await chat.say("talk", "Can you still talk, Mori?", author="somebody-else")
        assert (await chat.until("reply", in_reply_to="talk", timeout_s=60))["outcome"] == "spoken"
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await chat.say("after", "And now?", author="another-one")
        await chat.until("ack", id="after")
        await daemon.event("part_up", part="transcripts")


async def test_on_a_full_disk_what_the_player_says_still_counts(tmp_path):
    async with Daemon(tmp_path) as daemon, viewer(daemon.url) as chat, Collector(daemon.bus_port) as bus:
        await chat.say("before", "Hello Mori!")
        reply = await chat.until("reply", in_reply_to="before")
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        played = {"reply_id": reply["reply_id"], "seq": 0, "state": "started", "at": 1.5}
        await bus.send("vtuber/mori/v1/playback", played)
        await daemon.event("transcripts_unavailable")
        await bus.send("vtuber/mori/v1/control", {"command": "skip"})
        await bus.until(lambda: bus.on("control/result"))
        assert bus.on("control/result")[-1]["ok"]
        skipped = await chat.until("reply", reply_id=reply["reply_id"], count=2)
        assert (skipped["outcome"], skipped["reason"]) == ("cut", "skip")


async def _answered(chat, n):
    async with chat.changed:
        await chat.changed.wait_for(lambda: chat.of("ack", id=f"during-{n}") or chat.of("error", id=f"during-{n}"))
