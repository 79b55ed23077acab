"""A real daemon under a service manager's socket: what it says, in which order, and when it falls silent."""

import asyncio
import ctypes.util
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, viewer
from tests.support.manager import Manager
from vtuber_brain.config import shipped

STALLING = '''
"""Blocks the event loop for good when a viewer asks for it."""
import time

class Blocker:
    name = "blocker"

    async def emit(self, event):
        if "freeze" in getattr(getattr(event, "message", None), "text", ""):
            time.sleep(600)

async def setup(registry, settings):
    registry.add_sink(Blocker())
'''
TOML = 'name = "blocker"\nversion = "1"\napi = 1\nsummary = "Blocks."\nhooks = ["sink"]\n'


async def test_the_manager_hears_ready_alive_reloading_and_stopping_in_this_order(tmp_path):
    async with Manager(tmp_path, watchdog_s=0.5) as manager, Daemon(tmp_path, env=manager.env) as daemon:
        await manager.until(lambda: manager.num("READY") == 1)
        alive = manager.num("WATCHDOG")
        await manager.until(lambda: manager.num("WATCHDOG") > alive + 3)
        daemon.process.send_signal(signal.SIGHUP)
        await manager.until(lambda: manager.num("READY") == 2)
        alive = manager.num("WATCHDOG")
        await manager.until(lambda: manager.num("WATCHDOG") > alive + 1)
        assert await daemon.stop() == 0
        await manager.until(lambda: manager.num("STOPPING") == 1)
        order = [word for word in manager.words if word in {"READY", "RELOADING", "STOPPING"}]
        assert order == ["READY", "RELOADING", "READY", "STOPPING"]
        assert manager.num("STATUS") >= 1
        told = [text for text in manager.said if text.startswith("STATUS=")]
        assert told[-1].startswith("STATUS=online: all well"), told


@pytest.mark.slow
async def test_a_hung_engine_is_degraded_and_no_reason_to_be_killed_for_the_supervision_gets_on(tmp_path):
    extra = "[engine]\nslow_s = 0.5\ndead_s = 3\nping_s = 0.2\nbackoff_s = 0.1\n"
    async with Manager(tmp_path, watchdog_s=0.5) as manager, Daemon(tmp_path, extra=extra, env=manager.env) as daemon:
        ups = len([event for event in daemon.log if (event["event"], event.get("part")) == ("part_up", "engine")])
        before = len(manager.said)
        daemon.child("vtuber_brain.engine.worker").send_signal(signal.SIGSTOP)
        await manager.until(lambda: any("degraded: engine silent" in text for text in manager.said[before:]))
        alive = manager.num("WATCHDOG")
        await daemon.event("part_up", part="engine", count=ups + 1)
        assert manager.num("WATCHDOG") > alive
        await manager.until(lambda: manager.said[-1].startswith("WATCHDOG"))


@pytest.mark.slow
async def test_a_loop_that_stands_still_says_nothing_any_more(tmp_path):
    plugin = tmp_path / "state" / "plugins" / "blocker"
    plugin.mkdir(parents=True)
    (plugin / "plugin.toml").write_text(TOML)
    (plugin / "__init__.py").write_text(STALLING)
    extra = "[plugins.blocker]\n"
    async with Manager(tmp_path, watchdog_s=0.5) as manager:
        daemon = Daemon(tmp_path, extra=extra, env=manager.env)
        await daemon.start()
        async with viewer(daemon.url) as chat:
            await chat.say("one", "Please freeze now, Mori!")
            await chat.until("ack", id="one")
            await manager.until(lambda: manager.num("WATCHDOG") > 3)
            assert await manager.silent("WATCHDOG", 3) or await manager.silent("WATCHDOG", 3)
            await daemon.kill()


@pytest.mark.skipif(
    not (shutil.which("systemd-analyze") and ctypes.util.find_library("seccomp")),
    reason="without systemd and libseccomp nobody can say what the unit allows",
)
async def test_she_talks_with_no_other_system_calls_than_the_unit_allows(tmp_path):
    under = [sys.executable, "-m", "tests.support.seccomp", str(shipped("systemd", "vtuber-brain.service"))]
    extra = "[sentiment]\ntimeout_s = 20\nspeak_timeout_s = 20\n"
    async with Daemon(tmp_path, under=under, extra=extra) as daemon, viewer(daemon.url) as chat:
        await daemon.event("part_up", part="classifier")
        await chat.say("one", "Good evening, Mori!")
        reply = await chat.until("reply", in_reply_to="one")
        assert reply["outcome"] == "spoken" or reply["reason"] == "toxic"
        status = await asyncio.to_thread(Path(f"/proc/{daemon.process.pid}/status").read_text)
        assert "Seccomp:\t2" in status
        assert await daemon.stop() == 0
