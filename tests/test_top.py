"""`vtuber-brain top` and the dashboard: they show what the daemon measures, under the names it has."""

import asyncio
import io
import json
import os
import pty
import re
import sys

from prometheus_client import generate_latest
from rich.console import Console

from tests.support.operators import TOKENS, operated
from tests.support.scripted import message
from vtuber_brain.config import shipped, state_dir
from vtuber_brain.messages import Turn
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.top import Sample, frame, look


async def run_top(*arguments, env=()):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "vtuber_brain", "top", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "140", **dict(env)},
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_one_frame_tells_who_is_on_stage_what_waits_and_how_long_it_takes():
    async with operated() as one:
        await one.pipeline.receive(message("Hello Mori!"))
        await one.out.until(lambda out: out.of(Turn))
        code, out, err = await run_top("--url", one.url, "--token", TOKENS["viewer"], "--once")
        assert (code, err) == (0, "")
        for told in ("Mori", "online", "can talk", "first_sentence", "chat", "KV", "restarts"):
            assert told in out, told
        assert TOKENS["viewer"] not in out


async def test_without_a_token_the_one_in_the_state_folder_is_taken():
    async with operated(owner_token=None) as one:
        assert (await run_top("--url", one.url, "--once"))[0] == 0


async def test_a_token_that_may_not_look_and_a_daemon_that_is_not_there_are_said():
    state_dir().mkdir(parents=True)
    code, _, err = await run_top("--url", "http://127.0.0.1:1", "--token", "x", "--once")
    assert (code, "no daemon answers" in err) == (3, True)
    code, _, err = await run_top("--url", "file:///etc/passwd", "--token", "x", "--once")
    assert (code, "no http" in err) == (2, True)
    async with operated() as one:
        code, _, err = await run_top("--url", one.url, "--token", "wrong", "--once")
        assert (code, "may not look" in err) == (2, True)


async def test_it_goes_on_until_q_is_pressed():
    async with operated() as one:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "vtuber_brain", "top", "--url", one.url, "--token", TOKENS["viewer"]),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(theirs)
        seen = b""
        async with asyncio.timeout(30):
            while seen.count(b"can talk") < 2:
                seen += await asyncio.to_thread(os.read, ours, 4096)
            os.write(ours, b"q")
            reading = asyncio.create_task(asyncio.to_thread(drain, ours))
            assert await process.wait() == 0
            await reading
        os.close(ours)


def drain(terminal):
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:  # the other end is closed
        pass


async def test_a_rate_is_what_came_between_two_looks():
    async with operated() as one:
        first = await asyncio.to_thread(look, one.url, TOKENS["viewer"])
        one.metrics.tokens.labels("completion").inc(50)
        second = await asyncio.to_thread(look, one.url, TOKENS["viewer"])
        later = Sample(second.state, second.figures, first.at_s + 2)
        console = Console(width=140, record=True, file=io.StringIO())
        console.print(frame(later, first))
        assert "25.0 tokens/s" in console.export_text()


def names():
    """Every name a query may use: samples of counters, gauges and histograms."""
    metrics = Metrics()
    found = set(re.findall(r"# TYPE (\S+)", generate_latest(metrics.registry).decode()))
    return found | {f"{name}{part}" for name in found for part in ("_bucket", "_count", "_sum")}


def test_the_dashboard_asks_only_for_what_is_measured_and_for_nearly_all_of_it():
    dashboard = json.loads(shipped("configs", "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"\bvtb_\w+", query)}
    assert asked <= names(), asked - names()
    shown = {re.sub(r"_bucket$", "", name) for name in asked}
    measured = {name for name in names() if not name.endswith(("_created", "_bucket", "_count", "_sum"))}
    assert measured - shown <= {"vtb_inbox_waiting", "vtb_engine_slots", "vtb_moods_total"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_top_and_the_dashboard_name_no_label_that_nobody_sets():
    dashboard = shipped("configs", "grafana-dashboard.json").read_text()
    used = set(re.findall(r'\{what=\\"(\w+)\\"\}', dashboard))
    assert used <= {"kv_tokens", "slots", "loras"}
