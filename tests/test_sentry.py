"""A release that does badly live is taken back by itself, once; one that does well, or is not hers to judge, stays."""

import asyncio
import contextlib

import pytest

from tests.support.bus import message as asking
from tests.test_cast import Stage
from vtuber_brain.messages import Turn
from vtuber_brain.runtime.health import Health
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sentry import MAX_BAD, WINDOW, Sentry, why_bad


def turn(n=0, outcome="spoken", reason=None, text=None, release="r2", asked=None):
    said = text if text is not None else f"Words {n}."
    message = asking(asked if asked is not None else f"Question {n}?")
    return Turn(f"{release}-{n}", message, outcome, said, said, "mia", "tiny", release, reason)


def turns(bad, count=WINDOW):
    return [bad(n) if n <= MAX_BAD else turn(n) for n in range(count)]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (lambda n: turn(n, "refused", "blocked_word"), "kept back"),
        (lambda n: turn(n, "cut", "toxic"), "kept back"),
        (lambda n: turn(n, "failed", "empty", ""), "empty"),
        (lambda n: turn(n, text="Buy it now."), None),
    ],
)
def test_only_what_an_audience_would_notice_counts(bad, what):
    found = why_bad(turns(bad))
    assert (found or "None").find(what or "None") >= 0
    assert why_bad(turns(bad, WINDOW - 1)) is None


def test_saying_one_thing_again_and_again_is_bad_and_engine_trouble_is_not_her_fault():
    assert "said before" in why_bad([turn(n, text="Hm." if n % 2 else f"Words {n}.") for n in range(WINDOW)])
    assert why_bad([turn(n, "failed", "engine_down", "") for n in range(WINDOW)]) is None


def test_the_same_answer_to_the_same_question_is_the_audiences_doing():
    again = [turn(n, text="Fine, thank you.", asked=("How are you?", "how are YOU?")[n % 2]) for n in range(WINDOW)]
    assert why_bad(again) is None


@contextlib.asynccontextmanager
async def watching(stage):
    health = Health(Metrics(), lambda: None)
    sentry = Sentry(stage.store, stage.cast, health)
    task = asyncio.create_task(sentry.run())
    try:
        yield sentry, health
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended


async def test_it_goes_back_to_the_release_before_and_says_so(tmp_path):
    stage = Stage(tmp_path)
    await stage.cast.open()
    for release in ("r1", "r2"):
        await stage.cast.use("mia", release)
    async with watching(stage) as (sentry, health):
        for one in turns(lambda n: turn(n, "refused", "toxic")):
            await sentry.emit(one)
        async with asyncio.timeout(10):
            while "release" not in health.down:
                await asyncio.sleep(0)
    assert stage.store.current("mia").name == "r1"
    assert stage.cast.on_stage.release == "r1"
    assert stage.store.ledger("mia").rolled_back["r2"].by == "live guard"
    assert health.down["release"] == "r2 was taken back: 9 of 24 replies were kept back at the gate; r1 speaks"


async def test_a_release_that_is_not_current_or_changes_meanwhile_is_left_alone(tmp_path):
    stage = Stage(tmp_path)
    await stage.cast.open()
    await stage.cast.use("mia", "r1")
    async with watching(stage) as (sentry, health):
        for one in turns(lambda n: turn(n, "refused", "toxic", release="elsewhere")):
            await sentry.emit(one)
        for n in range(WINDOW):
            await sentry.emit(turn(n, "refused", "toxic", release="r1" if n % 2 else "r2"))
        for _ in range(50):
            await asyncio.sleep(0)
    assert health.down == {}
    assert stage.store.current("mia").name == "r1"


async def test_a_pointer_that_leads_nowhere_does_not_end_the_watch(tmp_path):
    stage = Stage(tmp_path)
    await stage.cast.open()
    await stage.cast.use("mia", "r1")
    (tmp_path / "state" / "mia" / "current").write_text("{")
    async with watching(stage) as (sentry, _):
        for _round in range(2):
            for one in (turn(n, "refused", "toxic", release="r1") for n in range(WINDOW)):
                await sentry.emit(one)
            async with asyncio.timeout(10):
                while not sentry._bad.empty():
                    await asyncio.sleep(0)
