"""Requests through a real small model: limits, ends, stops, seeds, deadlines, and books that balance."""

import resource

import psutil
import pytest
from transformers import AutoTokenizer

from tests.support.families import save_model
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.wire import Configure, Delta, Done, Failed, Generate, Sampling
from vtuber_brain.errors import ModelRefused, RequestFailed


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    folder = save_model("llama", tmp_path_factory.mktemp("llama"))
    return load_runner(Configure(model=str(folder), dtype="model", threads=1, num_slots=4, context=64))


@pytest.fixture
def core(runner):
    return Core(runner, None, Configure(model="", num_slots=4, context=64, prefill_chunk=8, max_waiting=6))


def run(core):
    events = []
    while core.busy:
        events += core.step()
        core.check_integrity()
    return events


def tokens(events, request_id):
    return [
        token for event in events if isinstance(event, Delta) and event.id == request_id for token in event.token_ids
    ]


def ending(events, request_id):
    return next(event for event in events if event.id == request_id and isinstance(event, Done | Failed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_model("llama", tmp_path_factory.mktemp("base")))


def test_more_slots_than_may_wait_are_warmed_up_by_as_many_as_may(folder):
    core = Core.load(Configure(folder, dtype="model", threads=1, num_slots=5, max_waiting=2, context=32))
    assert (core.num_slots, core.busy) == (5, False)


def test_rows_that_find_no_memory_in_the_warm_up_refuse_the_model_with_what_to_do(folder):
    limits, room = resource.getrlimit(resource.RLIMIT_AS), 512 * 2**20  # the least of the cache's tensors takes 820 MB
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + room, limits[1]))
    try:
        with pytest.raises(ModelRefused, match=r"does not fit .* fewer engine\.num_slots"):
            Core.load(Configure(folder, dtype="model", threads=1, num_slots=100_000, context=128))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_max_tokens_ends_a_reply_with_its_usage(core):
    core.add(Generate("a", token_ids=(5, 6, 7), max_tokens=9, ignore_eos=True))
    events = run(core)
    assert len(tokens(events, "a")) == 9
    done = ending(events, "a")
    assert (done.finish_reason, done.usage.prompt_tokens, done.usage.completion_tokens) == ("length", 3, 9)
    assert 0 <= done.usage.queued_ms <= done.usage.first_token_ms <= done.usage.total_ms


def test_the_context_ends_a_reply_that_would_outgrow_it(core):
    core.add(Generate("a", token_ids=tuple(range(3, 60)), max_tokens=100, ignore_eos=True))
    assert len(tokens(run(core), "a")) == 64 - 57


def test_the_end_token_ends_a_reply_unless_ignored(core):
    core.add(Generate("free", token_ids=(5, 6, 7), max_tokens=30, ignore_eos=True))
    answer = tokens(run(core), "free")
    core._ends = frozenset({answer[4]})
    core.add(Generate("ended", token_ids=(5, 6, 7), max_tokens=30))
    events = run(core)
    assert tokens(events, "ended") == answer[: answer.index(answer[4]) + 1]
    assert ending(events, "ended").finish_reason == "stop"


def test_a_seed_reproduces_a_reply_alone_and_in_a_crowd(core):
    request = {"token_ids": (9, 8, 7), "max_tokens": 20, "ignore_eos": True, "sampling": Sampling(1.0, seed=42)}
    core.add(Generate("alone", **request))
    alone = tokens(run(core), "alone")
    for n in range(3):
        core.add(Generate(f"other-{n}", token_ids=(n + 3,), max_tokens=25, sampling=Sampling(1.3)))
    core.add(Generate("crowd", **request))
    assert tokens(run(core), "crowd") == alone


def test_a_cancelled_request_says_nothing_more(core):
    core.add(Generate("a", token_ids=(5, 6), max_tokens=40, ignore_eos=True))
    core.add(Generate("b", token_ids=(7, 8), max_tokens=5, ignore_eos=True))
    core.step()
    core.cancel("a")
    core.cancel("never-seen")
    assert {event.id for event in run(core)} == {"b"}


def test_a_deadline_fails_a_request_by_its_code(core):
    core.add(Generate("late", token_ids=(5, 6), max_tokens=40, deadline_s=0.0))
    assert ending(run(core), "late").code == "deadline"


def test_a_broken_step_fails_its_requests_and_is_not_reused(core):
    core.add(Generate("a", token_ids=tuple(range(3, 40)), max_tokens=5))
    core.step()
    assert [event.code for event in core.fail_all("out_of_memory", "no room")] == ["out_of_memory"]
    assert not core.busy
    core.add(Generate("b", token_ids=tuple(range(3, 40)), max_tokens=5))
    assert ending(run(core), "b").usage.cached_tokens == 0


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Generate("x"), "bad_request"),
        (Generate("x", prompt="hi", token_ids=(1,)), "bad_request"),
        (Generate("x", prompt="hi"), "bad_request"),
        (Generate("x", token_ids=()), "bad_request"),
        (Generate("x", token_ids=(96,)), "bad_request"),
        (Generate("x", token_ids=(-1,)), "bad_request"),
        (Generate("x", token_ids=(1,), max_tokens=0), "bad_request"),
        (Generate("x", token_ids=(1,) * 64), "prompt_too_long"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(core, request_, code):
    with pytest.raises(RequestFailed) as failure:
        core.add(request_)
    assert failure.value.code == code
    assert not core.busy


def test_the_same_id_twice_is_refused(core):
    core.add(Generate("a", token_ids=(1,)))
    with pytest.raises(RequestFailed, match="running already"):
        core.add(Generate("a", token_ids=(1,)))
    run(core)


def test_a_stop_string_ends_a_reply_before_itself(runner, bundled_model):
    core = Core(runner, AutoTokenizer.from_pretrained(bundled_model), Configure(model="", num_slots=4, context=64))
    core.add(Generate("free", token_ids=(5, 6, 7), max_tokens=30, ignore_eos=True))
    whole = "".join(event.text for event in run(core) if isinstance(event, Delta))
    stop = whole[len(whole) // 2 :][:2]
    core.add(Generate("stopped", token_ids=(5, 6, 7), max_tokens=30, ignore_eos=True, stop=(stop,)))
    events = run(core)
    assert "".join(event.text for event in events if isinstance(event, Delta)) == whole.split(stop)[0]
    assert ending(events, "stopped").finish_reason == "stop_string"
