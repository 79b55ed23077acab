"""Any interleaving of adding, cancelling and stepping keeps the books balanced and gives each job its own tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtuber_brain.engine.scheduler import Job, Scheduler
from vtuber_brain.errors import RequestFailed


def answer_of(tokens):
    """A model for the tests: the next token depends on everything before it."""
    return hash(tuple(tokens)) % 1000


def step(scheduler, cache):
    """Run one step against a plain dictionary as cache: slot -> tokens whose K and V it holds."""
    planned = scheduler.plan()
    if planned is None:
        return
    if planned.copy is not None:
        source = cache[planned.copy.copy_from][: planned.copy.num_cached]
        assert len(source) == planned.copy.num_cached, "copied what was never computed"
        cache[planned.copy.slot.index] = source
    for span in planned.spans:
        row = cache.setdefault(span.slot, [])
        assert len(row) >= span.start, "a gap in the cache"
        row[span.start :] = span.tokens
    scheduler.commit(planned, [answer_of(cache[span.slot]) for span in planned.sampled])
    for job in [job for job in scheduler.jobs if len(job.output) >= job.max_tokens]:
        scheduler.finish(job)
    scheduler.check_integrity()


def alone(prompt, max_tokens):
    output = []
    for _ in range(max_tokens):
        output.append(answer_of([*prompt, *output]))
    return output


PROMPTS = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(lambda tail: [7] * 20 + tail)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PROMPTS, st.integers(1, 6), st.sampled_from([None, "a", "b"])),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("step")),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(actions=ACTIONS, num_slots=st.integers(1, 4), chunk=st.integers(1, 12))
def test_every_job_gets_the_tokens_it_gets_alone(actions, num_slots, chunk):
    scheduler, cache, jobs = Scheduler(num_slots, chunk, max_waiting=100), {}, []
    for action, *rest in actions:
        if action == "add":
            prompt, max_tokens, lora = rest
            jobs.append(Job(str(len(jobs)), prompt, max_tokens, lora))
            scheduler.add(jobs[-1])
        elif action == "cancel" and rest[0] < len(jobs) and jobs[rest[0]] in list(scheduler.jobs):
            scheduler.finish(jobs[rest[0]])
            jobs[rest[0]].max_tokens = 0
        elif action == "step":
            step(scheduler, cache)
    while scheduler.busy:
        step(scheduler, cache)
    for job in jobs:
        assert job.output[: job.max_tokens] == alone(job.prompt, job.max_tokens)


def test_a_beginning_is_never_shared_between_loras():
    scheduler, cache = Scheduler(2, 64, 8), {}
    for lora in ("a", "b"):
        scheduler.add(Job(lora, list(range(40)), 1, lora))
        planned = scheduler.plan()
        assert planned.copy is None
        assert planned.spans[0].start == 0
        step(scheduler, cache)


def test_a_second_prompt_copies_the_beginning_of_one_that_still_runs():
    scheduler, cache = Scheduler(2, 64, 8), {}
    scheduler.add(Job("first", list(range(40)), 5))
    step(scheduler, cache)
    second = Job("second", [*range(30), 99], 1)
    scheduler.add(second)
    planned = scheduler.plan()
    assert (planned.copy.num_cached, second.num_cached) == (30, 30)


def test_decode_goes_on_while_a_long_prompt_is_read():
    scheduler, cache = Scheduler(2, 4, 8), {}
    talking = Job("talking", [1], 50)
    scheduler.add(talking)
    step(scheduler, cache)
    scheduler.add(Job("long", list(range(100)), 1))
    for n in range(10):
        step(scheduler, cache)
        assert len(talking.output) == n + 2


def test_too_many_waiting_fail_at_once():
    scheduler = Scheduler(1, 4, max_waiting=1)
    scheduler.add(Job("one", [1], 1))
    with pytest.raises(RequestFailed, match="queue_full"):
        scheduler.add(Job("two", [1], 1))


def test_a_cancelled_job_frees_its_slot_in_the_same_step():
    scheduler, cache = Scheduler(1, 4, 8), {}
    first, second = Job("first", [1, 2], 50), Job("second", [3], 1)
    scheduler.add(first)
    scheduler.add(second)
    step(scheduler, cache)
    scheduler.finish(first)
    step(scheduler, cache)
    assert second.output == alone([3], 1)
