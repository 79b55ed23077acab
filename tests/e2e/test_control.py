"""The control API of a real daemon: silenced while the engine hangs, stopped with it, and what is measured is true."""

import asyncio
import json
import signal
import stat
import time
import urllib.error
import urllib.request

import psutil

from tests.support.brokers import Collector
from tests.support.daemon import Daemon, viewer

MUTE_S = 0.1
MAX_RSS_BYTES = 180e6


class Operator:
    """Asks a daemon's API with its own token."""

    def __init__(self, daemon):
        (told,) = [event for event in daemon.log if event.get("event") == "control_listening"]
        self.url = f"http://127.0.0.1:{told['port']}"
        self.token = (daemon.folder / "state" / "control_token").read_text().strip()

    async def ask(self, method, path, **body):
        """Status, decoded body, and how long it took."""
        return await asyncio.to_thread(self._ask, method, path, body)

    def _ask(self, method, path, body):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.url + path, method=method, headers=headers, data=data)
        start_s = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        took_s = time.perf_counter() - start_s
        return status, json.loads(text) if text.startswith("{") else text, took_s


async def test_she_can_be_silenced_at_once_while_the_engine_hangs_and_long_orders_wait_for_it(tmp_path):
    async with Daemon(tmp_path) as daemon, viewer(daemon.url) as chat, Collector(daemon.bus_port) as bus:
        await bus.connected()
        operator = Operator(daemon)
        assert (await operator.ask("GET", "/readyz"))[:2] == (200, {"ready": True, "reasons": []})
        await chat.say("one", "Mori, tell me a very long story about all the lost keys you ever found.")
        await chat.until("utterance")
        engine = daemon.child("vtuber_brain.engine.worker")
        engine.send_signal(signal.SIGSTOP)
        hanging = asyncio.create_task(operator.ask("POST", "/v1/preload", name="mori"))
        await bus.send("vtuber/mori/v1/control", {"command": "preload", "name": "mori", "id": "long"})
        await bus.send("vtuber/mori/v1/control", {"command": "personas", "id": "quick"})
        await bus.until(lambda: any(one["id"] == "quick" for one in bus.on("control/result")))
        status, told, took_s = await operator.ask("POST", "/v1/mute")
        assert (status, told["ok"]) == (200, True)
        assert took_s < MUTE_S
        assert not hanging.done()
        assert not any(one["id"] == "long" for one in bus.on("control/result"))
        await bus.until(lambda: bus.on("status")[-1]["state"] == "muted")
        await chat.until("reply", in_reply_to="one")
        assert (await operator.ask("GET", "/readyz"))[1]["reasons"] == ["muted"]
        start_s = time.perf_counter()
        await bus.send("vtuber/mori/v1/control", {"command": "unmute", "id": "bus"})
        await bus.until(lambda: any(one["id"] == "bus" for one in bus.on("control/result")))
        assert time.perf_counter() - start_s < 1
        engine.send_signal(signal.SIGCONT)
        assert (await hanging)[0] == 200
        await bus.until(lambda: any(one["id"] == "long" for one in bus.on("control/result")))
        _, page, _ = await operator.ask("GET", "/v1/audit")
        found = {(entry["role"], entry["action"], entry["outcome"]) for entry in page["entries"]}
        assert {("owner", "mute", "ok"), ("bus", "unmute", "ok"), ("bus", "preload", "ok")} <= found


async def test_what_is_measured_reaches_from_the_message_to_the_player_and_the_token_is_kept_well(tmp_path):
    async with Daemon(tmp_path) as daemon, viewer(daemon.url) as chat, Collector(daemon.bus_port) as bus:
        await bus.connected()
        operator = Operator(daemon)
        await chat.say("one", "Hello Mori, how are you today?")
        await chat.until("reply", in_reply_to="one")
        await bus.until(lambda: bus.on("utterance"))
        said = bus.on("utterance")[0]
        played = {"reply_id": said["reply_id"], "seq": 0, "state": "started", "at": 1.5}
        await bus.send("vtuber/mori/v1/playback", played)

        async def metrics(*wanted):
            async with asyncio.timeout(20):
                while True:
                    _, text, _ = await operator.ask("GET", "/metrics")
                    if all(one in text for one in wanted):
                        return text

        text = await metrics(
            'vtb_stage_seconds_count{stage="playback"} 1.0',
            'vtb_engine_tokens_total{kind="completion"}',
            'vtb_engine_room{what="slots"} 8.0',
        )
        figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert float(figures['vtb_engine_tokens_total{kind="completion"}']) > 1
        assert float(figures['vtb_engine_use{what="kv_tokens"}']) > 1
        resident = psutil.Process(daemon.process.pid).memory_info().rss
        assert abs(float(figures['vtb_process_resident_bytes{process="daemon"}']) - resident) < 20e6
        assert float(figures['vtb_process_resident_bytes{process="engine"}']) > resident
        assert resident < MAX_RSS_BYTES
        token = tmp_path / "state" / "control_token"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert operator.token not in json.dumps(daemon.log)
        assert await daemon.stop() == 0
        assert [event for event in daemon.log if event.get("level") == "error"] == []


async def test_a_port_that_is_taken_is_named_and_nothing_starts(tmp_path):
    async with Daemon(tmp_path) as first:
        port = Operator(first).url.rpartition(":")[2]
        (tmp_path / "second").mkdir()
        second = Daemon(tmp_path / "second", env={"VTB_CONTROL__PORT": port})
        await second.start(until=None)
        assert await second.wait(60) == 2
        assert any("control.port" in event.get("line", "") for event in second.log)
