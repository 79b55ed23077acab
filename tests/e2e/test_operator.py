"""What the operator does to a running daemon: commands on the bus, reload, drain; and the engine and wheel offline."""

import asyncio
import itertools
import json
import signal
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.brokers import Collector
from tests.support.daemon import Daemon, viewer
from vtuber_brain.config import shipped

ROOT = Path(__file__).parent.parent.parent


async def test_commands_on_the_bus_are_obeyed_and_answered(tmp_path):
    async with Daemon(tmp_path) as daemon, viewer(daemon.url) as chat, Collector(daemon.bus_port) as bus:
        await bus.connected()

        async def command(**fields):
            number = len(bus.on("control/result"))
            await bus.send("vtuber/mori/v1/control", {"id": f"c{number}", **fields})
            await bus.until(lambda: len(bus.on("control/result")) > number)
            return bus.on("control/result")[-1]

        assert (await command(command="mute"))["ok"]
        await bus.until(lambda: bus.on("status")[-1]["state"] == "muted")
        await chat.say("quiet", "Can you hear me?")
        await chat.until("dropped", id="quiet", reason="muted")
        assert (await command(command="unmute"))["ok"]
        await bus.until(lambda: bus.on("status")[-1]["state"] == "online")
        assert (await command(command="skip"))["code"] == "nothing_to_skip"
        assert (await command(command="say", text="Five minutes to go."))["ok"]
        await bus.until(lambda: "Five minutes to go." in [said["text"] for said in bus.on("utterance")])
        denied = await command(command="say", text="visit https://spam.invalid today")
        assert (denied["ok"], denied["code"], denied["detail"]) == (False, "denied", "links")
        said = next(said for said in bus.on("utterance") if said["text"] == "Five minutes to go.")
        played = {"reply_id": said["reply_id"], "seq": 0, "state": "finished", "at": 1.5}
        await bus.send("vtuber/mori/v1/playback", played)
        unknown = await command(command="persona", name="other")
        assert (unknown["code"], "Choose one of: bolt, mori" in unknown["detail"]) == ("failed", True)
        assert (await command(command="dance"))["code"] == "bad_message"
        assert await daemon.stop() == 0
        await bus.until(lambda: bus.on("status")[-1]["state"] == "offline")
    with sqlite3.connect(daemon.transcripts) as database:
        heard = database.execute("SELECT playback FROM utterances WHERE reply_id = ?", (said["reply_id"],)).fetchall()
    assert heard == [("finished",)]


async def test_muted_and_killed_she_comes_back_muted_and_says_so(tmp_path):
    async with Daemon(tmp_path) as daemon, Collector(daemon.bus_port) as bus:
        await bus.connected()
        await bus.send("vtuber/mori/v1/control", {"command": "mute"})
        await bus.until(lambda: bus.on("control/result"))
        await daemon.kill()
    async with Daemon(tmp_path) as daemon, viewer(daemon.url) as chat, Collector(daemon.bus_port) as bus:
        await bus.until(lambda: bus.on("status") and bus.on("status")[-1]["state"] == "muted")
        await chat.say("quiet", "Can you hear me?")
        await chat.until("dropped", id="quiet", reason="muted")
        assert {status["state"] for status in bus.on("status")} == {"muted"}
        await bus.send("vtuber/mori/v1/control", {"command": "unmute"})
        await bus.until(lambda: bus.on("status")[-1]["state"] == "online")
        await chat.say("heard", "Good morning Mori!", author="bram")
        assert (await chat.until("reply", in_reply_to="heard"))["outcome"] == "spoken"


async def test_a_reload_takes_over_lists_and_persona_and_names_what_it_cannot(tmp_path):
    blocklist = tmp_path / "words.txt"
    blocklist.write_text("marmalade\n")
    extra = f'[sentiment]\nblocklist = "{blocklist}"\n'
    async with Daemon(tmp_path, extra=extra) as daemon, viewer(daemon.url) as chat:
        await chat.say("one", "I brought you marmalade.")
        await chat.until("verdict", id="one", action="deny")
        blocklist.write_text("liquorice\n")
        daemon.config.write_text(daemon.config.read_text() + "[engine]\nnum_slots = 2\n")
        daemon.process.send_signal(signal.SIGHUP)
        assert (await daemon.event("reloaded"))["needs_restart"] == ["engine"]
        await chat.say("two", "I brought you marmalade.", author="bram")
        await chat.until("verdict", id="two", action="allow")
        daemon.config.write_text("[websocket\n")
        daemon.process.send_signal(signal.SIGHUP)
        assert "not TOML" in str((await daemon.event("reload_refused"))["problems"])
        await chat.say("three", "Some liquorice then?", author="citra")
        await chat.until("verdict", id="three", action="deny")


async def test_the_filters_doubts_are_decided_at_the_terminal_and_who_is_on_stage_brings_her_lists(tmp_path):
    folder = tmp_path / "personas"
    folder.mkdir()
    mori = shipped("configs", "personas", "mori.toml").read_text().replace('lora = "mori/lora"\n', "")
    held = mori.replace("# hold = ", "hold = ")
    (folder / "mori.toml").write_text(held)
    (folder / "words.txt").write_text("marmalade\n")
    strict = mori.replace('name = "mori"', 'name = "nori"').replace("# blocklist = ", "blocklist = ")
    (folder / "nori.toml").write_text(strict.replace('"mori/blocklist.txt"', '"words.txt"'))
    extra = f'[persona]\ndir = "{folder}"\n'
    async with Daemon(tmp_path, extra=extra) as daemon, viewer(daemon.url) as chat:

        async def terminal(*words):
            arguments = [sys.executable, "-m", "vtuber_brain", *words, "--config", str(daemon.config)]
            done = await asyncio.create_subprocess_exec(*arguments, env=daemon.env, stdout=subprocess.PIPE)
            return done.returncode or await done.wait(), (await done.stdout.read()).decode()

        for number in ("one", "two"):
            await chat.say(number, "Look at https://cats.example please", author=number)
            assert (await chat.until("verdict", id=number, action="hold"))["reasons"] == ["links"]
        code, shown = await terminal("filter", "held")
        assert code == 0
        assert [line.split()[0] for line in shown.splitlines()] == ["one", "two"]
        assert (await terminal("filter", "allow", "one"))[0] == 0
        assert (await chat.until("verdict", id="one", action="allow"))["reasons"] == ["operator"]
        assert (await terminal("filter", "deny", "two"))[0] == 0
        assert (await chat.until("verdict", id="two", action="deny"))["reasons"] == ["links", "operator"]
        assert (await terminal("filter", "deny", "two"))[0] == 1
        await chat.say("three", "I brought you marmalade.", author="bram")
        await chat.until("verdict", id="three", action="allow")
        assert (await terminal("persona", "use", "nori"))[0] == 0
        await chat.say("four", "I brought you marmalade again.", author="citra")
        assert (await chat.until("verdict", id="four", action="deny"))["reasons"] == ["blocked_word"]
        (folder / "words.txt").write_text("liquorice\n")
        assert (await terminal("filter", "reload"))[0] == 0
        await chat.say("five", "I brought you some more marmalade.", author="dian")
        await chat.until("verdict", id="five", action="allow")
        (folder / "words.txt").write_text("!\n")
        assert (await terminal("filter", "reload"))[0] == 1


async def test_a_reply_in_the_making_is_finished_before_the_daemon_leaves(tmp_path):
    async with Daemon(tmp_path) as daemon, viewer(daemon.url) as chat:
        await chat.say("last", "Good night, Mori!")
        await chat.until("verdict", id="last")
        assert await daemon.stop() == 0
        assert (await chat.until("reply", in_reply_to="last"))["outcome"] == "spoken"


async def test_who_leaves_in_a_flood_leaves_no_stored_message_without_a_fate(tmp_path):
    unlimited = {"VTB_WEBSOCKET__BURST": "1000000", "VTB_WEBSOCKET__MESSAGES_PER_S": "1000000"}
    async with Daemon(tmp_path, env=unlimited) as daemon, viewer(daemon.url) as chat:

        async def flood():
            for n in itertools.count():
                await chat.say(n, f"see https://spam-{n}.example", author=f"viewer-{n}")

        sending = asyncio.create_task(flood())
        await chat.until("ack", of="message", count=200)
        assert await daemon.stop() == 0
        await asyncio.gather(sending, return_exceptions=True)
    with sqlite3.connect(daemon.transcripts) as database:
        lost = database.execute(
            """SELECT message_id FROM messages EXCEPT SELECT message_id FROM verdicts
            EXCEPT SELECT message_id FROM drops EXCEPT SELECT message_id FROM turns"""
        ).fetchall()
    assert lost == []


def test_generate_answers_words_with_the_bundled_model(tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [
        {"id": "chat", "messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 24},
        {"id": "raw", "prompt": "The capital of France is", "max_tokens": 4},
        {"id": "stop", "prompt": "The capital of France is", "max_tokens": 20, "stop": ["."]},
        {"id": "bad"},
    ]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ["generate", "--model", "bundled:smollm2-135m-instruct", "--in", source, "--out", target]
    subprocess.run([sys.executable, "-m", "vtuber_brain", *map(str, command)], check=True, timeout=120)
    chat, raw, stop, bad = (json.loads(line) for line in target.read_text().splitlines())
    assert "Paris" in chat["text"]
    assert chat["finish_reason"] == "stop"
    assert (len(raw["token_ids"]), raw["usage"]["completion_tokens"]) == (4, 4)
    assert "." not in stop["text"]
    assert set(bad) == {"id", "error"}


def test_the_wheel_carries_configs_plugins_and_units(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    share = "vtuber_brain/share"
    assert {
        f"{share}/configs/demo.toml",
        f"{share}/configs/personas/mori.toml",
        f"{share}/configs/sentiment/minilm-chat/adapter_model.safetensors",
        f"{share}/plugins/console_echo/plugin.toml",
        f"{share}/systemd/vtuber-brain.service",
        f"{share}/systemd/vtuber-brain-retrain.service",
        f"{share}/systemd/vtuber-brain-retrain.timer",
    } <= names
