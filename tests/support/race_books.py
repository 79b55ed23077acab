"""The books of a race: every message, how far it is, when it was taken back, and whatever left the brain after that."""

import asyncio
import random
import re
import time
from dataclasses import dataclass, field

WAY = ("inbox", "judging", "recalling", "prompted", "engine", "first_token", "sentence", "gate", "floor", "spoken")
STAGES = (*WAY, "unplayed", "over")
GRACE_S = 0.05
WORD = re.compile(r"tok\d{5}")
TEXT = re.compile(r"what do you make of tok\d{5}")


@dataclass
class Run:
    """One message, how far it is, and when and where on its way it was taken back."""

    word: str
    source: str
    author: str
    stage: str = "sent"
    hit: str | None = None
    received_s: float | None = None
    retracted_s: float | None = None
    scope: str | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self):
        return f"{self.source}-{self.word[3:]}"

    def reach(self, stage):
        """Never back: a sentence after the first one is still `spoken`."""
        if stage in STAGES and (self.stage not in STAGES or STAGES.index(stage) > STAGES.index(self.stage)):
            self.stage = stage
            self.moved.set()

    async def past(self, stage):
        """Return once it is at `stage`, or beyond, or will go no further."""
        ahead = STAGES[STAGES.index(stage) :]
        while self.stage not in (*ahead, "gone") and self.retracted_s is None:
            self.moved.clear()
            await self.moved.wait()


class Pulse:
    """How long the loop itself stood still, which is the machine's fault and nobody's here."""

    def __init__(self):
        self.stalls = []

    async def run(self):
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(0.005)
            if (late_s := time.monotonic() - before_s - 0.005) > 0.005:
                self.stalls.append((before_s, late_s))

    def stalled_s(self, since_s, until_s):
        return sum(late_s for at_s, late_s in self.stalls if since_s - late_s - 0.01 <= at_s <= until_s)


class Books:
    """Every run by its word, everything that left the brain, and when."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.runs, self.out, self.prompts, self.pulse = {}, [], [], Pulse()

    def begin(self, source, author):
        run = Run(f"tok{len(self.runs):05}", source, author)
        self.runs[run.word] = run
        return run

    def at(self, text, stage):
        """The message that `text` is about, its last known word, has come to `stage`."""
        if words := [word for word in WORD.findall(text) if word in self.runs]:
            self.runs[words[-1]].reach(stage)

    async def dawdle(self, most_s=0.002):
        """Nothing, one turn of the loop, or a little while."""
        pace = self.random.random()
        if pace > 0.2:
            await asyncio.sleep(0 if pace < 0.5 else self.random.random() * most_s)

    def take_back(self, retraction):
        for run in self.runs.values():
            mine = {"message": run.id, "author": run.author, "all": None}[retraction.scope] == retraction.target_id
            unknown = retraction.scope == "all" and run.received_s is None
            if run.source == retraction.source and mine and not unknown and run.retracted_s is None:
                run.scope = retraction.scope
                run.retracted_s = time.monotonic()
                run.hit = run.stage if run.received_s is not None else "before"
                run.moved.set()

    def publish(self, sink, text):
        self.out.append((time.monotonic(), sink, text))

    def leaks(self):
        """What left the brain, or reached the model, with words that had been taken back."""
        found = []
        for at_s, sink, text in [*self.out, *((at_s, "prompt", text) for at_s, text in self.prompts)]:
            for word in set(WORD.findall(text)):
                since_s = self.runs[word].retracted_s if word in self.runs else None
                grace_s = 0.0 if sink == "prompt" else GRACE_S
                if since_s is None or at_s <= since_s + grace_s:
                    continue
                if sink == "prompt" or at_s > since_s + grace_s + self.pulse.stalled_s(since_s, at_s):
                    found.append((sink, word, self.runs[word].hit, round((at_s - since_s) * 1000), text[:300]))
        return found
