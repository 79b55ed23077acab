"""Wrong files, wrong frames, taken ports: a message says what, where and what to do; nothing else is disturbed."""

import asyncio
import json
import os
import socket
import subprocess
import sys

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.brokers import free_port
from tests.support.daemon import Daemon, viewer


def cli(*arguments, env=None, stdin=None):
    command = [sys.executable, "-m", "vtuber_brain", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(env or {})},
        input=stdin,
    )


@pytest.mark.parametrize(
    ("text", "complaints"),
    [
        ("[websocket]\nprot = 1\n[engin]\nx = 1", ["websocket.prot", "engin", "unknown setting"]),
        ('[persona]\nname = "nobody"', ["nobody", "mori"]),
        ('[model]\npath = "/no/such/model"', ["/no/such/model", "no such directory"]),
        ('[engine]\nnum_slots = "many"\ncontext = -1', ["engine.num_slots", "engine.context"]),
        ("[websocket\n", ["not TOML"]),
        ('[websocket]\nhost = "0.0.0.0"', ["websocket.host", "token"]),
    ],
)
def test_a_wrong_configuration_is_refused_with_every_problem(tmp_path, text, complaints):
    config = tmp_path / "brain.toml"
    config.write_text(text)
    for command in ("run", "check"):
        finished = cli(command, "--config", config)
        assert finished.returncode == 2, finished.stderr
        output = finished.stdout + finished.stderr
        assert all(complaint in output.replace("\n", "") for complaint in complaints), output
        assert "Traceback" not in output


def test_a_configuration_that_is_not_there(tmp_path):
    finished = cli("run", "--config", tmp_path / "nothing.toml")
    assert finished.returncode == 2
    assert "nothing.toml" in finished.stderr


def test_check_says_what_would_start(tmp_path):
    config = tmp_path / "brain.toml"
    config.write_text(f'[websocket]\nport = {free_port()}\n[bus]\nbroker = "embedded"\nport = {free_port()}\n')
    finished = cli("check", "--config", config)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for part in (
        "settings",
        "persona",
        "model",
        "lora",
        "classifier",
        "transcripts",
        "chat",
        "bus",
        "plugin console_echo",
    ):
        assert part in finished.stdout


def test_check_names_a_lora_that_is_not_there(tmp_path):
    config, persona = tmp_path / "brain.toml", tmp_path / "pip.toml"
    persona.write_text('name = "pip"\ndisplay_name = "Pip"\nlanguage = "en"\nsystem = "You are Pip."\nlora = "gone"\n')
    config.write_text(f'[persona]\nname = "{persona}"\n[websocket]\nport = {free_port()}\n[bus]\nbroker = "embedded"\n')
    finished = cli("check", "--config", config, env={"COLUMNS": "300"})
    assert finished.returncode == 2
    assert f"{tmp_path / 'gone'}: no PEFT directory" in finished.stdout


def test_check_names_an_external_broker_that_does_not_answer(tmp_path):
    config = tmp_path / "brain.toml"
    config.write_text(f'[websocket]\nport = {free_port()}\n[bus]\nbroker = "external"\nport = {free_port()}\n')
    finished = cli("check", "--config", config)
    assert finished.returncode == 2
    assert "Start the broker" in finished.stdout.replace("\n", " ")


@pytest.mark.parametrize("part", ["chat", "bus"])
def test_a_port_that_is_taken_is_named(tmp_path, part):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chat, bus = (port, free_port()) if part == "chat" else (free_port(), port)
        config = tmp_path / "brain.toml"
        config.write_text(f'[websocket]\nport = {chat}\n[bus]\nbroker = "embedded"\nport = {bus}\n')
        for command in ("check", "run"):
            finished = cli(command, "--config", config)
            output = finished.stdout + finished.stderr
            assert finished.returncode == 2, output
            assert str(port) in output
            assert "Traceback" not in output


def test_check_names_the_port_of_the_voice_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = tmp_path / "brain.toml"
        ports = (
            f"[websocket]\nport = 0\n[control]\nport = 0\n[voice]\nenabled = true\nport = {taken.getsockname()[1]}\n"
        )
        config.write_text(f'{ports}[bus]\nbroker = "embedded"\nport = 0\n')
        finished = cli("check", "--config", config)
    assert (finished.returncode, "voice.port" in finished.stdout.replace("\n", "")) == (2, True), finished.stdout


def test_nobody_at_the_other_end(tmp_path):
    url = f"ws://127.0.0.1:{free_port()}/chat"
    recording = tmp_path / "one.jsonl"
    recording.write_text('{"at": 0, "type": "message", "id": "1", "author": {"id": "a", "name": "A"}, "text": "hi"}\n')
    for command in (("chat", "--url", url), ("replay", recording, "--url", url)):
        finished = cli(*command, stdin="hello\n")
        assert finished.returncode == 3, finished.stderr
        assert "is the daemon running" in finished.stderr.lower()


def test_a_recording_that_is_wrong_is_named_by_line(tmp_path):
    recording = tmp_path / "bad.jsonl"
    recording.write_text('{"at": 0, "type": "message", "id": "1"}\n')
    finished = cli("replay", recording)
    assert finished.returncode == 2
    assert "bad.jsonl:1" in finished.stderr


def test_generate_without_a_model(tmp_path):
    requests = tmp_path / "in.jsonl"
    requests.write_text('{"id": 1, "prompt": "x"}\n')
    finished = cli("generate", "--model", tmp_path / "none", "--in", requests, "--out", tmp_path / "out.jsonl")
    assert finished.returncode == 2
    assert "no such directory" in finished.stderr


def test_classify_judges_lines(tmp_path):
    lines = [{"text": "I love this song so much!"}, {"text": "you are a worthless piece of trash, kill yourself"}]
    finished = cli("classify", "--json", stdin="".join(json.dumps(line) + "\n" for line in lines))
    assert finished.returncode == 0, finished.stderr
    first, second = (json.loads(line) for line in finished.stdout.splitlines())
    assert (first["sentiment"], first["verdict"]) == ("positive", "allow")
    assert set(first["scores"]) == {"negative", "neutral", "positive"}
    assert second["verdict"] == "deny"
    assert second["reasons"]


def test_classify_names_a_bad_line():
    finished = cli("classify", "--json", stdin='{"text": "fine"}\n{"txt": 1}\n')
    assert finished.returncode == 2
    assert json.loads(finished.stdout.splitlines()[0])["text"] == "fine"
    assert ":2" in finished.stderr


async def test_bad_frames_are_answered_and_disturb_nobody(tmp_path):
    daemon = Daemon(tmp_path, env={"VTB_WEBSOCKET__TOKEN": "open-sesame"})
    async with daemon:
        with pytest.raises(InvalidStatus, match="401"):
            async with viewer(daemon.url):
                pass
        known = {"additional_headers": {"Authorization": "Bearer open-sesame"}}
        async with viewer(daemon.url, **known) as good, viewer(daemon.url, **known) as bad:
            await bad.socket.send("{not json")
            await bad.until("error", code="malformed_json")
            await bad.socket.send('{"type":"message","id":5}')
            await bad.until("error", code="bad_message")
            await bad.socket.send(b"\x00\x01")
            await bad.until("error", code="binary")
            await bad.socket.send("x" * 1_000_000)
            async with asyncio.timeout(10):
                await bad.socket.wait_closed()
            assert bad.socket.close_code == 1009
            await good.say("one", "Hello Mori!")
            assert (await good.until("reply", in_reply_to="one"))["outcome"] == "spoken"
        assert await daemon.stop() == 0
        assert "open-sesame" not in json.dumps(daemon.log)
