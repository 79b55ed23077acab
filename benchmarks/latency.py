"""From a viewer's line to the first sentence on the bus: the whole daemon, real models, as `make run` starts it."""

import asyncio

from benchmarks.live import demo, first_words_s
from benchmarks.table import Table, percentile

LINES = [
    "Hello Mori, how are you today?",
    "What did you find this morning?",
    "Do you like rain?",
    "I lost my umbrella on the train.",
    "Tell me about your favourite button.",
    "What should I cook tonight?",
    "apa kabar Mori?",
    "Which song is stuck in your head?",
    "My cat is asleep on my keyboard.",
    "What would you do with a map of nowhere?",
]
CROWDS = (1, 8)
ROUNDS = 3


def measure() -> Table:
    """Each viewer sends its next line when the reply to the last has ended; time to the first utterance."""
    table = Table(
        "Message to first utterance",
        f"The demo's configuration with `engine.num_slots` and `speech.thinking` at 8, on CPU. {measure.__doc__}",
        ["viewers at once", "replies", "p50", "p95", "aim for p50"],
    )
    for crowd, aim in zip(CROWDS, ("0.7 s", "2 s"), strict=True):
        seconds = asyncio.run(_crowd(crowd))
        p50, p95 = percentile(seconds, 0.5), percentile(seconds, 0.95)
        table.rows.append([str(crowd), str(len(seconds)), f"{p50:.2f} s", f"{p95:.2f} s", aim])
    table.notes.append(
        "With eight viewers the two cores are full: a reply waits for the other seven replies' prompts and tokens "
        "(by estimate from the speeds below: about 110 ms of the one and 145 ms of the other each), and the "
        "classifier takes its turns on the same cores."
    )
    return table


async def _crowd(crowd: int) -> list[float]:
    crowded = {"VTB_ENGINE__NUM_SLOTS": "8", "VTB_SPEECH__THINKING": "8"}
    all_answered = {"VTB_CHOICE__FOLD_LIKENESS": "2", "VTB_CHOICE__WAVE_VIEWERS": "1000"}  # they share ten lines
    async with demo(**crowded, **all_answered) as live:
        await first_words_s(live.url, "warm-up", LINES[:2])
        lines = LINES * (ROUNDS if crowd == 1 else 1)
        viewers = [first_words_s(live.url, f"viewer{n}", lines[n:] + lines[:n]) for n in range(crowd)]
        return [second for seconds in await asyncio.gather(*viewers) for second in seconds]
