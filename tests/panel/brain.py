"""A brain with a scripted engine and its panel, as a process that is directed by lines of JSON."""

import asyncio
import json
import os
import sys
import time
from collections import deque

from tests.support.operators import TOKENS, operated
from tests.support.scripted import message
from vtuber_brain.controls import came_in
from vtuber_brain.messages import Judged, Retraction, Verdict
from vtuber_brain.runtime import logs
from vtuber_brain.runtime.memory import resident_bytes, spare_the_collector

SENTENCES = ["Rain again over the harbour. ", "I counted nine umbrellas, and one of them was a newspaper. ", "Yours?"]


class Stage:
    """What the tests may order."""

    def __init__(self):
        self.one, self.hung, self.number, self.lags = None, asyncio.Event(), 0, []

    def script(self, request):
        """`hang` is never answered, `long` until it is let go, everything else at once."""
        asked = request.messages[-1]["content"]
        if "hang" in asked:
            return [asyncio.Event()]
        if "long" in asked:
            return ["The first sentence is out. And ", self.hung, "there is another one."]
        return SENTENCES

    async def obey(self, order):
        """One order; what it returns is printed."""
        match order["do"]:
            case "chat":
                self.number += 1
                fields = {key: order[key] for key in ("kind", "amount") if key in order}
                await self.one.receive(
                    message(order["text"], order.get("author", "nadia"), f"n{self.number}", **fields)
                )
            case "hold":
                self.number += 1
                held = message(order["text"], order.get("author", "bram"), f"n{self.number}")
                verdict = Verdict("hold", ("doubtful",), held.text)
                self.one.feed.tell(*came_in(held))
                self.one.pipeline.door.hold(held, verdict)
                await self.one.publisher.publish(Judged(held, verdict))
            case "retract_last":
                await self.one.receive(Retraction("websocket", "message", f"n{self.number}", time.time()))
            case "down":
                self.one.health.set(order["part"], False, order["reason"])
            case "up":
                self.one.health.set(order["part"], True)
            case "flood":
                await self.flood(order["rate"], order["num"])
                return self.report()
            case "state":
                return {"muted": self.one.pipeline.muted, **self.report()}
        return {}

    async def flood(self, rate, num):
        """So many messages, at most so many a second; meanwhile the loop's delay is measured."""
        self.lags = []
        watching = asyncio.create_task(self.watch())
        try:
            for _ in range(num):
                self.number += 1
                text = f"message {self.number} about the weather in town {self.number % 977}"
                await self.one.receive(message(text, f"viewer{self.number % 211}", f"n{self.number}"))
                await asyncio.sleep(1 / rate)
        finally:
            watching.cancel()

    async def watch(self):
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            self.lags.append(time.perf_counter() - before - 0.005)

    def report(self):
        lags = sorted(self.lags) or [0.0]
        resident = resident_bytes(os.getpid())
        figures = {"p50": lags[len(lags) // 2], "p99": lags[int(len(lags) * 0.99)], "max": lags[-1]}
        return {"lag_ms": {name: round(1000 * lag, 2) for name, lag in figures.items()}, "rss_mb": resident / 1e6}


async def main():
    logs.setup("warning", "json")
    stage, panel = Stage(), os.environ.get("PANEL", "1") == "1"
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    spare_the_collector()  # as the daemon does
    async with operated(stage.script, panel=panel, requests_per_s=20, burst=60) as stage.one:
        # What tests look at afterwards would grow here; of this process only the page is looked at.
        stage.one.out.events, stage.one.engine.requests = deque(maxlen=8), deque(maxlen=8)
        print(json.dumps({"url": stage.one.url, "tokens": TOKENS}), flush=True)
        while line := await reader.readline():
            print(json.dumps(await stage.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
