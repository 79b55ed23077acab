"""A whole night beside a running daemon: streams of the past, retrain, gate, release, the new voice live, and back.

What is trained on is written by the daemon's own writer; everything is asked for as an operator does it.
"""

import asyncio
import contextlib
import os
import random
import re
import sys
import time
from pathlib import Path

import pytest

from tests.support import toys
from tests.support.brokers import Collector
from tests.support.daemon import Daemon, viewer
from tests.support.past import dialogues, exchanges, record
from vtuber_brain.config import shipped
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.retrain.journal import last_ended
from vtuber_brain.retrain.measures import CANDIDATE, CURRENT
from vtuber_brain.retrain.plan import nights_of
from vtuber_brain.retrain.stored import unpacked_measured
from vtuber_brain.sections import MemorySettings

MEMORY = MemorySettings(max_chars=1)
DIALOGUES = "NIGHT_DIALOGUES"
"""A file as `past.dialogues` reads it; without it the streams are made of a corpus that ships."""
TOY = """
name = "toy"
display_name = "Toy"
language = "en"
system = "you find things ."
[style]
max_words = 14
max_tokens = 24
[cues]
names = ["smile", "think", "wave", "laugh"]
default = "smile"
[sampling]
temperature = 0
repetition_penalty = 1
"""
WREN = """
name = "wren"
display_name = "Wren"
language = "en"
system = "You are Wren. You talk with viewers on a live stream, in one or two short sentences."
[style]
max_tokens = 40
[sampling]
temperature = 0.7
seed = 11  # the same question gets the same answer
"""
SETTINGS = """
[choice]
fold_likeness = 2  # the same question again and again is what these tests ask
wave_viewers = 1000000
[persona]
name = "{name}"
dir = "{folder}"
[model]
path = "{base}"
dtype = "{dtype}"
[sentiment]
enabled = {classifier}
[memory]
max_chars = 1
{more}
"""
SMALL = """
[engine]
context = 96
threads = 1
[retrain]
canaries = 0
[retrain.train]
rank = 8
alpha = 16
learning_rate = 4e-3
epochs = 8
step_rows = 8
pack_tokens = 200
dtype = "fp32"
threads = 1
[retrain.gate]
max_drift = 9
max_kl = 9
max_unsafe = 1
max_names = 1
max_spans = 1
max_same = 1
style_margin = 1
"""


class House:
    """A daemon with her on stage, one viewer who asks her the same again and again, and an operator."""

    def __init__(self, daemon, chat, bus, question):
        self.daemon, self.chat, self.bus, self.question = daemon, chat, bus, question
        self.num_asked = 0

    async def ask(self):
        """Release and words of the answer to whoever asks now."""
        number, self.num_asked = str(self.num_asked), self.num_asked + 1
        who = {"id": f"viewer-{number}", "name": "Nadia"}
        await self.chat.send(type="message", id=number, author=who, text=self.question)
        await self.bus.until(lambda: len(self.bus.on("reply")) >= self.num_asked, timeout_s=60)
        mine = {one["reply_id"] for one in self.bus.on("utterance") if one["in_reply_to"]["message_id"] == number}
        reply = self.bus.on("reply")[-1]
        assert reply["outcome"] == "spoken", reply
        assert {reply["reply_id"]} == mine
        return reply["release"], reply["text"]

    async def keep_asking(self, until):
        """A chat that never stops; every answer."""
        answers = []
        while not until.is_set():
            answers.append(await self.ask())
        return answers

    async def run(self, *arguments, timeout_s=600):
        """A command of the operator's: its exit code and what it said."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "vtuber_brain", *arguments, "--config", str(self.daemon.config),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=self.daemon.env,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), timeout_s)
        return process.returncode, output.decode()


@contextlib.asynccontextmanager
async def house(folder, text, question, **settings):
    (folder / f"{settings['name']}.toml").write_text(text)
    extra = SETTINGS.format(folder=folder, **settings)
    async with (
        Daemon(folder, extra=extra, env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}) as daemon,
        viewer(daemon.url) as chat,
        Collector(daemon.bus_port) as bus,
    ):
        await bus.connected()
        yield House(daemon, chat, bus, question)


async def lived_through(it, name, *, exactly=True):
    """The night and the morning after; the release, and how long the night took in seconds.

    `exactly`: each voice has one answer. In bf16 it may have several, by what was computed beside it.
    """
    before = await it.ask()
    assert before[0] is None
    done, began_s = asyncio.Event(), time.monotonic()
    asking = asyncio.create_task(it.keep_asking(done))
    try:
        code, said = await it.run("retrain", "--while-live")
    finally:
        done.set()
    took_s, answers = time.monotonic() - began_s, await asking
    assert code == 0, said
    assert "She speaks with it from her next reply on" in said
    release = ReleaseStore(it.daemon.folder / "state" / "personas").current(name)
    after = await it.ask()
    assert after[0] == release.name
    heard = [before, *answers, after]
    old, new = ({text for whose, text in heard if whose == voice} for voice in (None, release.name))
    assert {whose for whose, _ in answers} <= {None, release.name}
    assert not old & new, "a reply was torn between two voices, or nothing was learnt"
    if exactly:
        assert (len(old), len(new)) == (1, 1)
    assert it.bus.on("status")[-1]["release"] == release.name

    code, said = await it.run("persona", "rollback", "--reason", "the old one was nicer")
    assert (code, "the base model is current again" in said) == (0, True), said
    back = await it.ask()
    assert (back[0], back[1] in old) == (None, True), (back, old)
    return release, took_s


def perplexities(folder, name):
    """Of the held-out replies, before and after, by the figures and by the page."""
    night = last_ended(nights_of(folder / "state", name))
    measured = unpacked_measured(night.path("evaluated", "measured.json").read_bytes())
    before, after = (measured.of(who).nll.perplexity for who in (CURRENT, CANDIDATE))
    page = night.path("ended", "report.html").read_text()
    assert all(re.search(rf"\b{value:.2f}\b|\b{value:.1f}\b", page) for value in (before, after)), (before, after)
    return before, after


async def test_a_small_model_learns_from_eight_streams_and_goes_live_and_back(tmp_path):
    toys.make_world(tmp_path / "base")
    found, draw = {}, random.Random(1)
    for one in toys.streams(10, 8):
        name, _, said = one.messages[0].content.partition(": ")
        beside = " ".join(draw.sample((*toys.ITEMS, *toys.PLACES, *toys.COLOURS), 9))  # no two are nearly the same
        found.setdefault(one.group, []).append((name, f"{said} {beside}", one.messages[1].content))
    (tmp_path / "state").mkdir()
    count = await record(
        tmp_path / "state" / "transcripts.db", "toy", found.values(), memory=MEMORY, began_at=time.time() - 9e6
    )
    more = SMALL + "[retrain.curate]\nmin_examples = 20\nviewer_share = 1\nmax_repeats = 99\nnear_duplicate = 1\n"
    chosen = {"name": "toy", "base": tmp_path / "base", "dtype": "fp32", "classifier": "false", "more": more}
    question = "please tell me where is my old key tonight"
    async with house(tmp_path, TOY, question, **chosen) as it:
        release, _ = await lived_through(it, "toy")
    assert count == 112
    assert release.manifest["counts"]["rows"] > 20
    before, after = perplexities(tmp_path, "toy")
    assert after < before


@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_twelve_streams_make_the_bundled_model_a_better_companion_within_ten_minutes(tmp_path, bundled_model):
    """On two cores. `NIGHT_DIALOGUES` names Synthetic-Persona-Chat; else Bolt's corpus makes the streams."""
    num_streams, num_replies = int(os.environ.get("NIGHT_STREAMS", "12")), int(os.environ.get("NIGHT_REPLIES", "16"))
    told = os.environ.get(DIALOGUES)
    own = shipped("configs", "personas", "bolt") / "corpus.jsonl"
    past = dialogues(Path(told), num_streams, num_replies) if told else exchanges(own, num_streams, num_replies)
    (tmp_path / "state").mkdir()
    count = await record(tmp_path / "state" / "transcripts.db", "wren", past, memory=MEMORY, began_at=time.time() - 9e6)
    more = f"[retrain.train]\nepochs = {os.environ.get('NIGHT_EPOCHS', '2')}\n"
    chosen = {"name": "wren", "base": "bundled:smollm2-135m-instruct", "dtype": "auto", "classifier": "true"}
    async with house(tmp_path, WREN, "do you have a pet?", more=more, **chosen) as it:
        release, took_s = await lived_through(it, "wren", exactly=False)
    before, after = perplexities(tmp_path, "wren")
    print(f"{count} replies, {took_s:.0f} s, perplexity {before:.2f} before, {after:.2f} after")
    assert release.manifest["gate"]["outcome"] == "passed"
    assert after < before
    assert took_s < 600
