"""A secret planted in every way in which a process can print something comes out of none of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SECRET = 'hunter2-"very\\private"-ü'

PROGRAM = """
import asyncio, gc, json, logging, os, sys, threading, warnings
import structlog
from vtuber_brain.runtime import logs
from vtuber_brain.runtime.child import Child, Supervision
from vtuber_brain.runtime.line import Protocol

SECRET, style, how = sys.argv[1:4]
logs.setup("debug", style, [SECRET])
logs.take_over()
log = structlog.get_logger("ours")

def fail():
    local = SECRET
    raise ValueError(f"cannot log in with {local} at https://x.invalid/?t={local}")

class Bad:
    def __del__(self):
        fail()

def event():
    log.warning("login", url=f"https://x.invalid/{SECRET}", nested={"a": [SECRET]}, token="t")

def exception():
    try:
        fail()
    except ValueError:
        log.exception("broke")

def stdlib():
    logging.getLogger("some.library").error("wrong: %s", SECRET)

def stdlib_exception():
    try:
        fail()
    except ValueError:
        logging.getLogger("some.library").exception("wrong")

def warning():
    warnings.warn(f"do not use {SECRET}", stacklevel=1)

def thread():
    one = threading.Thread(target=fail)
    one.start()
    one.join()

def unraisable():
    Bad()
    gc.collect()

def task():
    async def main():
        lost = asyncio.ensure_future(asyncio.sleep(0)) and asyncio.create_task(broken())
        await asyncio.sleep(0.01)
        del lost
        gc.collect()

    async def broken():
        fail()

    asyncio.run(main())

def child():
    async def main():
        heard = asyncio.Event()
        class Handler(logging.Handler):
            def emit(self, record):
                if "child_output" in record.getMessage() or "child_output" in str(record.msg):
                    asyncio.get_running_loop().call_soon(heard.set)
        logging.getLogger().addHandler(Handler())
        from vtuber_brain.engine import wire
        one = Child("test", "printing_child", wire.PROTOCOL, wire.Stop(), Supervision(),
                    on_message=print, on_state=lambda *told: None, environment={"SAY": SECRET})
        running = asyncio.create_task(one.run())
        async with asyncio.timeout(20):
            await heard.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    asyncio.run(main())

def crash():
    fail()

globals()[how]()
"""
WAYS = ["event", "exception", "stdlib", "stdlib_exception", "warning", "thread", "unraisable", "task", "child", "crash"]


@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_printing_shows_it(way, style, tmp_path):
    (tmp_path / "printing_child.py").write_text("import os\nprint('I was given', os.environ['SAY'], flush=True)\n")
    command = [sys.executable, "-c", PROGRAM, SECRET, style, way]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    shown = done.stdout + done.stderr
    assert "***" in shown, shown
    for form in (SECRET, repr(SECRET)[1:-1], json.dumps(SECRET)[1:-1], "hunter2"):
        assert form not in shown
