"""A lora goes live in mid-stream: the real daemon, the operator's own commands, and not a torn word."""

import asyncio
import contextlib
import signal
import sys

import pytest

from tests.support.brokers import Collector
from tests.support.daemon import Daemon, viewer
from tests.support.families import save_model, save_talker
from tests.support.loras import save_lora
from tests.support.openai_fake import FakeServer
from vtuber_brain.runtime.lease import LIVE, holder
from vtuber_brain.transcripts.past import stream_ids

PERSONA = """
name = "pip"
display_name = "Pip"
language = "en"
system = "You are Pip."
[style]
max_tokens = 12
[sampling]
temperature = 0
repetition_penalty = 1
"""
QUESTION = "What did you find today?"
# Everybody is called Wren and nothing is remembered: every prompt is the same, and so is every answer of a release.
EXTRA = """
[choice]
fold_likeness = 2  # the same question again and again is what these tests ask
wave_viewers = 1000000
[persona]
name = "pip"
dir = "{folder}"
[model]
path = "{folder}/model"
dtype = "fp32"
[engine]
context = 256
threads = 1
backoff_s = 0.05
[sentiment]
enabled = false
[memory]
max_chars = 1
"""


@pytest.fixture
def house(tmp_path, bundled_model):
    """A persona on a small random model, with two releases and a lora for another model."""
    (tmp_path / "pip.toml").write_text(PERSONA)
    save_talker(tmp_path / "model", bundled_model)
    for seed, name in enumerate(("r-1", "r-2"), 1):
        save_lora(tmp_path / "state" / "personas" / "pip" / "releases" / name, tmp_path / "model", seed=seed)
    save_lora(tmp_path / "foreign", save_model("gpt2", tmp_path / "gpt2"))
    return tmp_path


class Audience:
    """Viewers who all ask the same; `heard` is what each of them was answered, by the bus."""

    def __init__(self, chat, bus):
        self.chat, self.bus, self.num_asked = chat, bus, 0

    async def ask(self):
        number, self.num_asked = self.num_asked, self.num_asked + 1
        who = {"id": f"viewer-{number}", "name": "Wren"}
        await self.chat.send(type="message", id=str(number), author=who, text=QUESTION)

    async def keep_asking(self, until):
        while not until.is_set():
            await self.ask()
            await self.bus.until(lambda: len(self.bus.on("reply")) > self.num_asked - 6, timeout_s=30)

    async def settled(self):
        """Wait until everybody was answered; release and text of every reply, in order."""
        await self.bus.until(lambda: len(self.bus.on("reply")) >= self.num_asked, timeout_s=30)
        replies = self.bus.on("reply")
        assert len(replies) == self.num_asked
        for reply in replies:
            said = [one for one in self.bus.on("utterance") if one["reply_id"] == reply["reply_id"]]
            assert [one["seq"] for one in said] == list(range(len(said)))
            assert {(one["persona"], one["release"]) for one in said} == {("pip", reply["release"])}
            assert reply["persona"] == "pip"
            assert (reply["outcome"], reply["text"]) == ("spoken", " ".join(one["text"] for one in said))
        return [(reply["release"], reply["text"]) for reply in replies]

    async def next_answer(self):
        """What the one who asks now is answered: another's reply, begun before, may be spoken after it."""
        number = str(self.num_asked)
        await self.ask()
        await self.settled()
        answers = [one for one in self.bus.on("utterance") if one["in_reply_to"]]
        [mine] = {one["reply_id"] for one in answers if one["in_reply_to"]["message_id"] == number}
        return next((one["release"], one["text"]) for one in self.bus.on("reply") if one["reply_id"] == mine)


@contextlib.asynccontextmanager
async def live(house):
    async with (
        Daemon(house, extra=EXTRA.format(folder=house), env={"OMP_NUM_THREADS": "1"}) as daemon,
        viewer(daemon.url) as chat,
        Collector(daemon.bus_port) as bus,
    ):
        await bus.connected()
        yield daemon, Audience(chat, bus), bus


async def persona(daemon, *arguments):
    """`vtuber-brain persona ...`: exit code and everything it printed."""
    return await run(daemon, "persona", *map(str, arguments))


async def run(daemon, *arguments):
    command = [*arguments, "--config", str(daemon.config)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vtuber_brain",
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**daemon.env, "COLUMNS": "200"},
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()


async def test_a_release_goes_live_under_load_outlives_its_worker_and_stays(house):
    async with live(house) as (daemon, audience, bus):
        base = await audience.next_answer()
        done = asyncio.Event()
        asking = asyncio.create_task(audience.keep_asking(done))
        assert await persona(daemon, "use", "pip", "--release", "r-1") == (0, "pip with r-1\n")
        num_before = audience.num_asked
        done.set()
        await asking
        new = await audience.next_answer()
        answers = await audience.settled()
        assert (base[0], new[0]) == (None, "r-1")
        assert base[1] != new[1]
        assert set(answers) == {base, new}, "a reply was torn between two releases"
        assert answers.count(base) > 3
        await bus.until(lambda: bus.on("status")[-1]["release"] == "r-1")

        code, said = await persona(daemon, "use", "pip", "--release", "r-9")
        assert (code, "r-1, r-2" in said) == (1, True), said
        code, said = await persona(daemon, "use", "pip", "--release", house / "foreign")
        assert (code, "no projection" in said) == (1, True), said
        assert await audience.next_answer() == new, f"after {num_before} replies a refused lora changed the voice"

        daemon.child("vtuber_brain.engine.worker").send_signal(signal.SIGKILL)
        await daemon.event("part_up", part="engine", count=2)
        assert await audience.next_answer() == new

        assert (await persona(daemon, "preload", "pip", "--release", "r-2"))[0] == 0
        code, listed = await persona(daemon, "list")
        rows = {row.split()[1]: row for row in listed.splitlines() if row.strip().startswith("pip")}
        assert "on stage, ready, current" in rows["r-1"]
        assert rows["r-2"].rstrip().endswith("ready")
        assert (await persona(daemon, "drop", "pip"))[1] == "pip: r-2 dropped\n"
        code, said = await persona(daemon, "drop", "pip", "--release", "r-1")
        assert (code, "on stage" in said) == (1, True)
        assert "r-2  no manifest" in (await persona(daemon, "show", "pip"))[1]

        assert await daemon.stop() == 0
        assert (await persona(daemon, "list"))[0] == 3
        await daemon.start()
        assert (await daemon.event("started", count=2))["release"] == "r-1"


async def test_asleep_the_worker_is_gone_the_night_may_train_and_awake_its_release_speaks(house):
    async with live(house) as (daemon, audience, bus):

        async def command(**fields):
            number = len(bus.on("control/result"))
            await bus.send("vtuber/pip/v1/control", fields)
            await bus.until(lambda: len(bus.on("control/result")) > number, timeout_s=30)
            return bus.on("control/result")[-1]

        used = await command(command="persona", name="pip", release="r-2")
        assert (used["ok"], used["data"]) == (True, {"persona": "pip", "release": "r-2"})
        before = await audience.next_answer()
        assert (await run(daemon, "skip"))[0] == 1
        assert await run(daemon, "mute") == (0, "")
        assert bus.on("control/result")[-1]["ok"]
        assert (await run(daemon, "say", "Hello everybody."))[0] == 1
        assert await run(daemon, "unmute") == (0, "")
        assert await run(daemon, "say", "Hello everybody.") == (0, "")
        await bus.until(lambda: "Hello everybody." in [said["text"] for said in bus.on("utterance")])
        assert await run(daemon, "sleep") == (0, "")
        await bus.until(lambda: bus.on("status")[-1]["state"] == "asleep")
        with pytest.raises(LookupError):
            daemon.child("vtuber_brain.engine.worker")
        await audience.chat.say("nobody", "Anyone there?")
        await audience.chat.until("dropped", id="nobody", reason="asleep")
        assert await run(daemon, "off-air") == (0, "nobody is live\n")
        assert (await command(command="persona", name="pip", release="r-1"))["ok"]
        assert await run(daemon, "wake") == (0, "")
        new = await audience.next_answer()
        assert (before[0], new[0], before[1] != new[1]) == ("r-2", "r-1", True)
        await bus.until(lambda: bus.on("status")[-1]["state"] == "online")
        assert (await command(command="personas"))["data"]["on_stage"] == {"persona": "pip", "release": "r-1"}
        assert (await run(daemon, "off-air"))[0] == 1
        assert await daemon.stop() == 0
        streams = stream_ids(house / "state" / "transcripts.db", "pip")
        assert [ended_at is not None for _, ended_at in streams] == [True, True]


async def test_a_current_release_that_cannot_be_loaded_costs_the_voice_and_is_said(house):
    (house / "state" / "personas" / "pip" / "current").write_text('{"release": "r-2"}\n')
    (house / "state" / "personas" / "pip" / "releases" / "r-2" / "adapter_model.safetensors").write_bytes(b"torn")
    async with live(house) as (daemon, audience, bus):
        assert "adapter_model.safetensors" in (await daemon.event("part_down", part="lora"))["reason"]
        assert (await audience.next_answer())[0] is None
        await bus.until(lambda: bus.on("status"))
        await bus.until(lambda: bus.on("status")[-1]["state"] == "degraded")
        assert (await persona(daemon, "use", "pip", "--release", "r-1"))[0] == 0
        await bus.until(lambda: bus.on("status")[-1]["state"] == "online")
        assert (await audience.next_answer())[0] == "r-1"


async def test_with_servers_elsewhere_a_release_goes_live_there_and_no_model_is_needed_here(tmp_path):
    (tmp_path / "pip.toml").write_text(PERSONA)
    release = tmp_path / "state" / "personas" / "pip" / "releases" / "r-1"
    release.mkdir(parents=True)
    (release / "adapter_config.json").write_text("{}")
    (release / "adapter_model.safetensors").write_bytes(b"for the servers to judge")
    local = EXTRA.format(folder=tmp_path).replace("[engine]", '[engine]\nkind = "openai"')
    async with FakeServer() as server:
        extra = f'{local}[remote]\nurls = ["{server.url}"]\nmodel = "base"\nloras = "vllm"\n'
        async with Daemon(tmp_path, extra=extra) as daemon, viewer(daemon.url) as chat:
            async with Collector(daemon.bus_port) as bus:
                await bus.connected()
                audience = Audience(chat, bus)
                assert await audience.next_answer() == (None, "hello from base")
                assert (await persona(daemon, "use", "pip", "--release", "r-1"))[0] == 0
                assert (await audience.next_answer())[0] == "r-1"
                assert server.requests[-1]["model"].startswith("pip@r-1@")
            assert await daemon.stop() == 0
            code, said = await run(daemon, "check")
            assert code == 0, said
            assert f"base at {server.url}" in said
            assert "r-1 in" in said


async def test_a_rollback_takes_the_voice_back_at_once_for_good_and_without_a_daemon_too(house):
    async with live(house) as (daemon, audience, bus):
        voices = {}
        for release in ("r-1", "r-2"):
            assert (await persona(daemon, "use", "pip", "--release", release))[0] == 0
            name, voices[release] = await audience.next_answer()
            assert name == release
        code, said = await persona(daemon, "rollback", "--reason", "too loud", "--by", "ana")
        assert code == 0, said
        assert "r-1 is current again" in said
        assert await audience.next_answer() == ("r-1", voices["r-1"])
        await bus.until(lambda: bus.on("status")[-1]["release"] == "r-1")
        code, said = await persona(daemon, "use", "pip", "--release", "r-2")
        assert (code, "rolled back by ana (too loud)" in said) == (1, True), said
        assert (await audience.next_answer())[0] == "r-1"
        assert (await persona(daemon, "pin", "r-1"))[0] == 0
        rows = (await persona(daemon, "releases"))[1].splitlines()
        assert "current, pinned" in next(row for row in rows if "r-1" in row)
        assert "rolled back by ana: too loud" in next(row for row in rows if "r-2" in row)

        assert holder(house / "state" / LIVE).what == "the daemon of pip"
        assert await daemon.stop() == 0
        assert holder(house / "state" / LIVE) is None
        code, said = await persona(daemon, "rollback", "pip")
        assert (code, "the base model is current again" in said, "pointer alone" in said) == (0, True, True), said
        assert (await persona(daemon, "rollback", "pip"))[0] == 2
