"""Engines: programs get text on standard input and nothing on their command line; hibari leaves the loop alone."""

import asyncio
import contextlib
import shutil
import sys
import time

import numpy as np
import psutil
import pytest

from vtuber_brain.errors import EngineDown, RequestFailed
from vtuber_brain.voice.engines import COMMANDS, Hibari, Program, check_engine, load_hibari
from vtuber_brain.voice.sound import RATE

WAV = """
import sys, wave
text = sys.stdin.read()
with wave.open(sys.stdout.buffer, "wb") as file:
    file.setnchannels(1); file.setsampwidth(2); file.setframerate(24000)
    file.writeframes(b"\\0\\0" * 240 * len(text.strip()))
"""


def program(code, *words, timeout_s=10.0, spare=False, name="mine"):
    return Program(name, [sys.executable, "-c", code, *words], timeout_s, spare=spare)


async def test_a_program_gets_the_text_as_one_line_and_gives_sound():
    sound = await program(WAV).speak("eight ch", "en", None, 1.0)
    assert len(sound) == 8 * 240


async def test_the_places_of_a_command_line_are_filled_and_no_text_is_on_it():
    code = WAV + "print(sys.argv[1:], file=sys.stderr); sys.exit(3)"
    engine = program(code, "{lang}", "{voice}", "{speed}", "{slowness}", "{words_per_minute}")
    with pytest.raises(EngineDown, match=r"exit status 3: \['pt-br', 'v1', '2.000', '0.500', '330'\]"):
        await engine.speak("secret words", "pt-BR", "v1", 2.0)


async def test_a_program_that_hangs_is_ended_with_what_it_has_started(tmp_path):
    code = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60'])"
    code += "; open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(60)"
    with pytest.raises(EngineDown, match=r"no sound within 1 s"):
        async with asyncio.timeout(20):
            await program(code, str(tmp_path / "pid"), timeout_s=1.0).speak("hello", "en", None, 1.0)
    started = int((tmp_path / "pid").read_text())
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(started).wait(5)
    assert not psutil.pid_exists(started)


@pytest.mark.parametrize("code", ["print('no sound')", "pass"])
async def test_a_program_that_gives_no_sound_fails_that_sentence(code):
    with pytest.raises(RequestFailed, match="bad_sound"):
        await program(code).speak("hello", "en", None, 1.0)


async def test_a_program_that_is_not_there_is_down():
    with pytest.raises(EngineDown, match="No such file"):
        await Program("gone", ["/nowhere/at-all"], 5).speak("hello", "en", None, 1.0)


async def test_a_spare_process_has_loaded_before_it_is_needed_and_is_ended_with_the_engine():
    slow = "import time; time.sleep(0.6)" + WAV
    engine = program(slow, spare=True)
    await engine.speak("one", "en", None, 1.0)
    _, waiting = engine._waiting
    while "S" not in psutil.Process(waiting.pid).status().upper()[:1]:
        await asyncio.sleep(0)
    assert len(await engine.speak("two", "en", None, 1.0)) == 3 * 240
    _, waiting = engine._waiting
    await engine.close()
    assert waiting.returncode is not None


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed: apt-get install espeak-ng")
async def test_espeak_speaks_indonesian_and_faster_when_it_is_told_to():
    engine = Program("espeak", COMMANDS["espeak"], 10)
    slow = await engine.speak("halo, apa kabar semuanya", "id", None, 1.0)
    fast = await engine.speak("halo, apa kabar semuanya", "id", None, 1.6)
    assert 0.8 * RATE < len(fast) < 0.85 * len(slow)
    assert np.abs(slow).max() > 0.1
    with pytest.raises(EngineDown, match="exit status"):
        await engine.speak("hello", "qq", None, 1.0)


async def test_hibari_speaks_while_the_loop_goes_on_turning():
    engine = Hibari()
    await engine.speak("Warm up.", "en", None, 1.0)
    worst_s, done = 0.0, asyncio.Event()

    async def turn():
        nonlocal worst_s
        while not done.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            worst_s = max(worst_s, time.perf_counter() - before - 0.001)

    turning = asyncio.create_task(turn())
    sound = await engine.speak("Well done, and please do not lose the paper that I gave to you.", "en", None, 1.0)
    done.set()
    await turning
    await engine.close()
    assert len(sound) > 2 * RATE
    assert worst_s < 0.1


async def test_hibari_never_fetches_a_voice_that_is_not_here(monkeypatch, tmp_path):
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    engine = Hibari()
    for name in ("emma", "nobody"):
        with pytest.raises(EngineDown, match="no voice"):
            await engine.speak("Hello.", "en", name, 1.0)
    await engine.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_said_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(EngineDown, match=r"pip install 'vtuber-brain\[voice\]'"):
        load_hibari("heart")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "apt-get install espeak-ng" in check_engine("espeak", COMMANDS["espeak"], None)
    assert "pip install piper-tts" in check_engine("piper", COMMANDS["piper"], None)
    assert "voice.commands.mine" in check_engine("mine", ["mine-tts"], None)
    assert "no engine 'gone'" in check_engine("gone", [], None)
    piper = tmp_path / "piper"
    piper.write_text("#!/bin/sh\n")
    piper.chmod(0o755)
    assert "path of its .onnx" in check_engine("piper", COMMANDS["piper"], None)
    assert check_engine("piper", COMMANDS["piper"], str(piper)) is None
