"""`vtuber-brain voice` as a process: hears the bus, speaks, tells; ends when told to, and with who started it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import wave

import psutil
import pytest

from tests.support.brokers import Collector, Mosquitto, free_port
from tests.support.voices import page, said, until_heard
from vtuber_brain.config import load, shipped
from vtuber_brain.errors import ConfigError
from vtuber_brain.voice.service import END_S
from vtuber_brain.voice_keeper import VoiceKeeper

ROOT = "vtuber/mori/v1"
STUCK = """
import time
from tests.support.voices import Hum
from tests.voice import hummer

class Stuck(Hum):
    async def close(self):
        time.sleep(600)

hummer.Hum = Stuck
hummer.main()
"""
TONE = """
import sys, wave
with wave.open(sys.stdout.buffer, "wb") as file:
    file.setnchannels(1); file.setsampwidth(2); file.setframerate(24000)
    file.writeframes(b"\\0\\1" * 100 * len(sys.stdin.read()))
"""


def settings_text(bus_port, **voice):
    """A configuration whose engine is a small program, so that it starts quickly."""
    tone = json.dumps([sys.executable, "-c", TONE])
    keys = {"engines": '{en = "tone"}', "commands": f"{{tone = {tone}}}", "fallback": '""', **voice}
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join([f"[bus]\nport = {bus_port}\nretry_max_s = 0.2", '[logs]\nformat = "json"', "[voice]", *lines])


class Process:
    """One running voice; `log` holds its events."""

    def __init__(self, process):
        self.process, self.log, self.changed = process, [], asyncio.Condition()

    async def read(self):
        async for line in self.process.stderr:
            with contextlib.suppress(json.JSONDecodeError):
                self.log.append(json.loads(line))
            async with self.changed:
                self.changed.notify_all()

    async def event(self, name, timeout_s=20):
        def found():
            return [one for one in self.log if one.get("event") == name]

        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(found)
        return found()[-1]


@contextlib.asynccontextmanager
async def voice(config, *words):
    async with speaking("vtuber_brain", "voice", "--config", str(config), *words) as one:
        yield one


@contextlib.asynccontextmanager
async def speaking(*words):
    """A voice's process: `python -m WORDS`."""
    command = [sys.executable, "-m", *words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stderr=pipe)
    one = Process(process)
    reading = asyncio.create_task(one.read(), name="voice-log")
    try:
        yield one
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process.stdin.close()
        await reading


async def test_what_is_on_the_bus_becomes_files_and_is_told_of_and_sigterm_ends_it(tmp_path):
    config = tmp_path / "brain.toml"
    async with Mosquitto() as broker, Collector(broker.port) as bus:
        config.write_text(settings_text(broker.port, output='"files"', folder=f'"{tmp_path / "out"}"'))
        async with voice(config) as one:
            await one.event("voice_bus_connected")
            for seq in range(2):
                await bus.send(f"{ROOT}/utterance", said("r1", seq).model_dump_json())
            await bus.until(lambda: len(bus.on("playback")) == 4)
            assert [(ack["seq"], ack["state"]) for ack in bus.on("playback")] == [
                (0, "started"),
                (0, "finished"),
                (1, "started"),
                (1, "finished"),
            ]
            one.process.terminate()
            assert await asyncio.wait_for(one.process.wait(), 10) == 0
    files = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in files] == ["00000001-r1-0.wav", "00000002-r1-1.wav"]
    with wave.open(str(files[0])) as file:
        assert file.getnframes() == round(100 * len("Hello Wren!\n") / 1.04)  # Mori's pitch


async def test_a_persona_whose_file_cannot_be_read_any_more_sounds_as_before(tmp_path):
    config, own = tmp_path / "brain.toml", tmp_path / "mori.toml"
    own.write_text(shipped("configs", "personas", "mori.toml").read_text())
    async with Mosquitto() as broker, Collector(broker.port) as bus:
        files = settings_text(broker.port, output='"files"', folder=f'"{tmp_path / "out"}"')
        config.write_text(f'{files}\n[persona]\nname = "{own}"\n')
        async with voice(config) as one:
            await one.event("voice_bus_connected")
            await bus.send(f"{ROOT}/utterance", said("r1", 0).model_dump_json())
            await bus.until(lambda: len(bus.on("playback")) == 2)
            own.write_text("[voice\n")
            one.process.send_signal(signal.SIGHUP)
            assert (await one.event("persona_not_read"))["persona"]
            await bus.send(f"{ROOT}/utterance", said("r1", 1).model_dump_json())
            await bus.until(lambda: len(bus.on("playback")) == 4)
            assert bus.on("playback")[-1]["state"] == "finished"
    first, second = sorted((tmp_path / "out").iterdir())
    with wave.open(str(first)) as before, wave.open(str(second)) as after:
        assert before.getnframes() == after.getnframes()


async def test_an_engine_that_hangs_at_the_end_does_not_keep_the_voice_alive():
    async with Mosquitto() as broker, Collector(broker.port) as bus:
        await bus.connected()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STUCK, str(broker.port), str(free_port()), stderr=asyncio.subprocess.PIPE
        )
        reading = Process(process)
        task = asyncio.create_task(reading.read())
        await reading.event("voice_started")
        process.terminate()
        assert await asyncio.wait_for(process.wait(), END_S + 10) == -signal.SIGALRM
        await task


async def test_the_end_of_its_parent_is_its_end_and_what_it_was_saying_is_told_as_skipped(tmp_path):
    config = tmp_path / "brain.toml"
    async with Mosquitto() as broker, Collector(broker.port) as bus:
        port = free_port()
        config.write_text(settings_text(broker.port, port=port))
        async with voice(config, "--with-parent") as one:
            started = await one.event("voice_started")
            assert started["output"] == f"http://127.0.0.1:{port}/overlay"
            await one.event("voice_bus_connected")
            async with page(port, plays=False) as viewer:
                await until_heard(port)
                await bus.send(f"{ROOT}/utterance", said("r1", 0).model_dump_json())
                await viewer.until(lambda viewer: viewer.sounds)
                await viewer.ack("r1", 0, "started")
                await bus.until(lambda: bus.on("playback"))
                one.process.stdin.close()
                await bus.until(lambda: len(bus.on("playback")) == 2)
            assert [ack["state"] for ack in bus.on("playback")] == ["started", "skipped"]
            assert await asyncio.wait_for(one.process.wait(), 10) == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('engines = {en = "nobody"}', "no such engine: nobody"),
        ('fallback = "nobody"', "no such engine: nobody"),
        ('commands = {hibari = ["x"]}', "hibari is built in"),
        ("ahead = 9", "ahead"),
    ],
)
def test_settings_it_cannot_work_with_are_refused_with_a_reason(tmp_path, wrong, told):
    config = tmp_path / "brain.toml"
    config.write_text(f"[voice]\n{wrong}\n")
    config.chmod(0o600)
    with pytest.raises(ConfigError, match=told):
        load(config)


class Kept:
    """A keeper of the daemon's, running; `states` is what health would hear."""

    def __init__(self, config, bus_port):
        self.states, self.changed = [], asyncio.Event()
        self.keeper = VoiceKeeper(config, bus_port, self.note)

    def note(self, up, reason):
        self.states.append((up, reason))
        self.changed.set()

    async def until(self, holds):
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@contextlib.asynccontextmanager
async def kept(config, bus_port):
    one = Kept(config, bus_port)
    running = asyncio.create_task(one.keeper.run(), name="keeper")
    try:
        yield one, running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_daemons_voice_is_started_again_when_it_dies_and_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("vtuber_brain.voice_keeper.FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    config = tmp_path / "brain.toml"
    config.write_text(settings_text(1, port=0))
    async with kept(config, free_port()) as (one, _):
        await one.until(lambda: one.states == [(True, "")])
        first = psutil.Process(one.keeper.pid)
        assert "NOTIFY_SOCKET" not in first.environ()
        first.kill()
        await one.until(lambda: len(one.states) == 3)
        assert one.states[1:] == [(False, "its process ended with status -9"), (True, "")]
        second = psutil.Process(one.keeper.pid)
    assert not second.is_running()


async def test_a_voice_that_cannot_start_is_said_to_be_down_and_the_keeper_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("vtuber_brain.voice_keeper.FIRST_PAUSE_S", 0.01)
    config = tmp_path / "brain.toml"
    config.write_text("[voice]\nport = 0\navatar = '/nowhere'\n")
    async with kept(config, 1) as (one, running):
        await one.until(lambda: len(one.states) >= 3)
        assert one.states[1] == (False, "its process ended with status 2")
        assert not running.done()


def test_a_sentence_is_spoken_into_a_file_for_trial(tmp_path):
    command = [sys.executable, "-m", "vtuber_brain", "voice", "say", "Hello!", "--to", str(tmp_path / "a.wav")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ))
    assert told.returncode == 0, told.stderr
    assert "by hibari" in told.stdout
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getnframes() > 0.3 * file.getframerate()
