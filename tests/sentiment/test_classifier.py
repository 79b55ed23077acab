"""The daemon's side of the classifier, against its real child with a small random model."""

import asyncio
import contextlib
import os
import signal

import pytest
import pytest_asyncio

from tests.support.encoders import tiny_encoder
from vtuber_brain.errors import JudgeDown, Refused
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment import classifier as room
from vtuber_brain.sentiment.classifier import Classifier
from vtuber_brain.sentiment.model import load
from vtuber_brain.sentiment.wire import Configure

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE_S = 90


class Watched:
    """A classifier under way, its metrics, and its states as they come."""

    def __init__(self, model, **settings):
        self.metrics, self.states = Metrics(), asyncio.Queue()
        self.classifier = Classifier(
            str(model),
            None,
            SentimentSettings(**settings),
            self.metrics,
            lambda state, reason: self.states.put_nowait((state, reason)),
        )

    def number(self, name, **labels):
        return self.metrics.registry.get_sample_value(name, labels) or 0

    def num_requests(self):
        return self.number("vtb_stage_seconds_count", stage="classify")

    async def until(self, wanted):
        async with asyncio.timeout(PATIENCE_S):
            while (await self.states.get())[0] != wanted:
                pass


@contextlib.asynccontextmanager
async def running(model, **settings):
    watched = Watched(model, **settings)
    task = asyncio.create_task(watched.classifier.run())
    try:
        await watched.until("ready")
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def patient(model):
    async with running(model, timeout_s=PATIENCE_S, max_batch=16, max_wait_ms=20) as watched:
        yield watched


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hasty(model):
    async with running(model, timeout_s=1, max_batch=16) as watched:
        yield watched


@contextlib.contextmanager
def frozen(watched):
    os.kill(watched.classifier.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(watched.classifier.pid, signal.SIGCONT)


async def test_moods_of_many_at_once_are_those_of_each_alone(patient, model):
    texts = [f"what a {word} game {n}" for n in range(32) for word in ("good", "bad")]
    assert (await patient.classifier.wait_ready())["has_toxicity"] is True
    before = patient.num_requests()
    moods = await asyncio.gather(*map(patient.classifier.mood, texts))
    assert patient.num_requests() - before == len(texts) / 16
    alone = load(Configure(str(model), None, {}, 1, 96, 16))
    for text, mood in zip(texts, moods, strict=True):
        (expected,) = alone.moods(alone.ids([text]))
        assert mood.scores == pytest.approx(expected.scores, abs=1e-5)
        assert mood.toxicity == pytest.approx(expected.toxicity, abs=1e-5)


async def test_a_few_that_come_together_share_a_request(patient):
    before = patient.num_requests()
    await asyncio.gather(*(patient.classifier.mood(f"together {n}") for n in range(5)))
    assert patient.num_requests() - before == 1


async def test_equal_texts_are_asked_once_and_remembered(patient, monkeypatch):
    monkeypatch.setattr(room, "RECENT", 2)
    before = patient.num_requests()
    first, *others = await asyncio.gather(*(patient.classifier.mood("same same") for _ in range(40)))
    assert all(other == first for other in others)
    assert await patient.classifier.mood("same same") == first
    assert patient.num_requests() - before == 1
    for text in ("filler 1", "filler 2", "filler 3", "same same"):
        await patient.classifier.mood(text)
    assert patient.num_requests() - before == 5


async def test_giving_up_leaves_the_others_of_the_batch(patient):
    leaving, staying, sharing = (
        asyncio.create_task(patient.classifier.mood(text)) for text in ("leave", "stay", "leave")
    )
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).sentiment
    assert (await sharing).sentiment
    assert leaving.cancelled() or (await asyncio.gather(leaving, return_exceptions=True))
    assert leaving.cancelled()


async def test_texts_that_cannot_be_written_down_are_answered(patient):
    for text in ("\ud83d half an emoji", "", "\x00", "😂" * 100_000):
        assert (await patient.classifier.mood(text)).sentiment


async def test_a_late_answer_is_judge_down_and_the_next_one_is_not(hasty):
    with frozen(hasty), pytest.raises(JudgeDown, match="no mood within"):
        await hasty.classifier.mood("late")
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(JudgeDown):
                assert (await hasty.classifier.mood("in time")).sentiment
                break


async def test_more_than_may_be_under_way_are_turned_away(hasty, monkeypatch):
    monkeypatch.setattr(room, "MAX_UNDER_WAY", 3)
    with frozen(hasty):
        waiting = [asyncio.create_task(hasty.classifier.mood(f"waiting {n}")) for n in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(JudgeDown, match="3 texts are waiting"):
            await hasty.classifier.mood("one too many")
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_death_fails_what_is_under_way_and_a_new_child_answers(patient):
    with frozen(patient):
        waiting = [asyncio.create_task(patient.classifier.mood(f"dying {n}")) for n in range(40)]
        await asyncio.sleep(0)
        os.kill(patient.classifier.pid, signal.SIGKILL)
    outcomes = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), PATIENCE_S)
    assert {type(outcome) for outcome in outcomes} == {JudgeDown}
    with pytest.raises(JudgeDown, match="the classifier is"):
        await patient.classifier.mood("too early")
    await patient.until("ready")
    assert (await patient.classifier.mood("dying 3")).sentiment
    assert patient.number("vtb_child_restarts_total", child="classifier") == 1
    assert patient.number("vtb_up", part="classifier") == 1


async def test_before_it_runs_and_after_it_stopped_nobody_waits(model):
    watched = Watched(model)
    with pytest.raises(JudgeDown, match="the classifier is down"):
        await watched.classifier.mood("hello?")


async def test_stopping_fails_what_is_under_way(model):
    async with running(model, timeout_s=PATIENCE_S, max_batch=1) as watched:
        os.kill(watched.classifier.pid, signal.SIGSTOP)
        waiting = asyncio.create_task(watched.classifier.mood("still there?"))
        await asyncio.sleep(0)
    with pytest.raises(JudgeDown, match="stopped"):
        await asyncio.wait_for(waiting, PATIENCE_S)


async def test_a_model_that_can_never_work_is_refused_with_what_to_mend(tmp_path):
    tiny_encoder(tmp_path, labels=["LABEL_0", "LABEL_1"])
    watched = Watched(tmp_path)
    with pytest.raises(Refused, match=r"sentiment\.labels"):
        await asyncio.wait_for(watched.classifier.run(), PATIENCE_S)
