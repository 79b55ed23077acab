"""Any interleaving of adding, cancelling and stepping keeps the books balanced and gives each job its own tokens."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtuber_brain.engine.scheduler import Job, Scheduler
from vtuber_brain.engine.slots import MIN_COPY_TOKENS
from vtuber_brain.errors import RequestFailed

END = 7


def answer_of(tokens):
    """A model for the tests: the next token depends on everything before it; one in seven ends the answer."""
    return hash(tuple(tokens)) % 1000


class Machine:
    """A scheduler with a plain dictionary as cache (row -> tokens whose K and V it holds), `lag` steps behind."""

    def __init__(self, num_slots=2, chunk=64, max_waiting=100, num_pinned=0, lag=0, ends=False):
        self.scheduler = Scheduler(num_slots, chunk, max_waiting, num_pinned)
        self.cache, self.last, self.in_flight, self.lag = {}, {}, deque(), lag
        self.ends = ends

    @property
    def busy(self):
        return self.scheduler.busy or bool(self.in_flight)

    def add(self, *args, **kwargs):
        job = Job(*args, **kwargs)
        self.scheduler.add(job)
        return job

    def step(self):
        planned = self.scheduler.plan()
        if planned is not None:
            self.in_flight.append((planned, self.compute(planned)))
        if self.in_flight and (len(self.in_flight) > self.lag or planned is None):
            self.scheduler.commit(*self.in_flight.popleft())
        for job in [job for job in self.scheduler.jobs if self.is_over(job)]:
            self.scheduler.finish(job)
        self.scheduler.check_integrity()
        return planned

    def is_over(self, job):
        return len(job.output) >= job.max_tokens or (self.ends and any(token % END == 0 for token in job.output))

    def compute(self, planned):
        admitted = planned.admitted
        if admitted is not None and admitted.copy_from is not None:
            source = self.cache[admitted.copy_from][: admitted.num_cached]
            assert len(source) == admitted.num_cached, "copied what was never computed"
            self.cache[admitted.slot.index] = source
        for span in planned.spans:
            row = self.cache.setdefault(span.slot, [])
            assert len(row) >= span.start, "a gap in the cache"
            row[span.start :] = [self.last[span.slot]] if span.tokens is None else span.tokens
        tokens = [answer_of(self.cache[span.slot]) for span in planned.sampled]
        self.last.update({span.slot: token for span, token in zip(planned.sampled, tokens, strict=True)})
        return tokens


def alone(prompt, max_tokens):
    output = []
    while len(output) < max_tokens and not any(token % END == 0 for token in output):
        output.append(answer_of([*prompt, *output]))
    return output


PROMPTS = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(lambda tail: [7] * 20 + tail)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PROMPTS, st.integers(1, 6), st.sampled_from([None, "a", "b"]), st.integers(0, 1)),
        st.tuples(st.just("pin"), PROMPTS, st.sampled_from(["mori", "luna"])),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("step")),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(
    actions=ACTIONS,
    num_slots=st.integers(1, 4),
    num_pinned=st.integers(1, 2),
    chunk=st.integers(1, 12),
    lag=st.integers(0, 1),
)
def test_every_job_gets_the_tokens_it_gets_alone(actions, num_slots, num_pinned, chunk, lag):
    machine, jobs, cancelled = Machine(num_slots, chunk, num_pinned=num_pinned, lag=lag, ends=True), [], set()
    for action, *rest in actions:
        if action == "add":
            prompt, max_tokens, lora, priority = rest
            jobs.append(machine.add(str(len(jobs)), prompt, max_tokens, lora, priority))
        elif action == "pin":
            jobs.append(machine.add(str(len(jobs)), rest[0], 1, None, 0, rest[1]))
        elif action == "cancel" and rest[0] < len(jobs) and jobs[rest[0]] in list(machine.scheduler.jobs):
            machine.scheduler.finish(jobs[rest[0]])
            cancelled.add(jobs[rest[0]])
        elif action == "step":
            machine.step()
    while machine.busy:
        machine.step()
    for job in jobs:
        expected = alone(job.prompt, job.max_tokens)
        assert job.output == (expected[: len(job.output)] if job in cancelled else expected)


def test_a_beginning_is_never_shared_between_loras():
    machine = Machine()
    for lora in ("a", "b"):
        machine.add(lora, list(range(40)), 1, lora)
        planned = machine.step()
        assert planned.admitted.copy_from is None
        assert planned.spans[0].start == 0


def test_a_second_prompt_copies_the_beginning_of_one_that_still_runs():
    machine = Machine()
    machine.add("first", list(range(40)), 5)
    machine.step()
    second = machine.add("second", [*range(30), 99], 1)
    planned = machine.scheduler.plan()
    assert (planned.admitted.num_cached, second.num_cached) == (30, 30)


def test_a_pinned_beginning_outlives_any_crowd_and_is_copied():
    machine, opening = Machine(num_slots=2, num_pinned=1), list(range(100, 140))
    machine.add("pin", [*opening, 1], 1, None, 0, "mori")
    machine.step()
    for n in range(20):
        machine.add(f"stranger-{n}", [n * 3 + 200] * 50, 1)
        machine.step()
    late = machine.add("late", [*opening, 2, 3], 1)
    machine.step()
    assert late.num_cached == len(opening)


def test_the_same_pin_again_takes_the_same_row_and_a_new_one_the_row_used_least():
    machine = Machine(num_slots=1, num_pinned=2)
    rows = []
    for name in ("mori", "luna", "mori", "tala", "luna"):
        machine.add(name, [ord(name[0])] * 30, 1, None, 0, name)
        rows.append(machine.step().spans[0].slot)
    assert rows == [1, 2, 1, 2, 1], "luna, used least, made room for tala, and then mori for luna"


def test_pins_do_not_take_the_rows_of_requests_nor_wait_for_them():
    machine = Machine(num_slots=1, num_pinned=1)
    talking = machine.add("talking", [1], 40)
    machine.step()
    machine.add("waiting", [2], 1)
    machine.add("pin", [3] * 30, 1, None, 0, "mori")
    machine.step()
    assert [job.id for job in machine.scheduler.jobs] == ["talking", "waiting"]
    assert talking.output


def test_a_beginning_shorter_than_a_copy_is_worth_is_computed():
    machine = Machine()
    machine.add("first", list(range(MIN_COPY_TOKENS - 1)), 5)
    machine.step()
    machine.add("second", [*range(MIN_COPY_TOKENS - 1), 99], 1)
    assert machine.scheduler.plan().admitted.copy_from is None


def test_decode_goes_on_while_a_long_prompt_is_read():
    machine = Machine(chunk=4)
    talking = machine.add("talking", [1], 50)
    machine.step()
    machine.add("long", list(range(100)), 1)
    for n in range(5):
        machine.step()
        assert len(talking.output) == n + 2


def test_a_paid_message_goes_ahead_of_those_that_wait_and_behind_its_like():
    machine = Machine(num_slots=1)
    machine.add("running", [1], 1)
    for name, priority in (("a", 0), ("b", 0), ("paid", 1), ("paid too", 1)):
        machine.add(name, [2], 1, None, priority)
    assert [job.id for job in machine.scheduler.jobs] == ["paid", "paid too", "running", "a", "b"]


def test_too_many_waiting_fail_at_once():
    machine = Machine(num_slots=1, max_waiting=1)
    machine.add("one", [1], 1)
    with pytest.raises(RequestFailed, match="queue_full"):
        machine.add("two", [1], 1)


@pytest.mark.parametrize("lag", [0, 1])
def test_a_cancelled_job_frees_its_slot_in_the_same_step(lag):
    machine = Machine(num_slots=1, lag=lag)
    first, second = machine.add("first", [1, 2], 50), machine.add("second", [3], 1)
    machine.step()
    machine.scheduler.finish(first)
    assert machine.step().spans[0].job is second


def test_one_step_behind_no_more_tokens_are_asked_for_than_the_length_allows():
    machine = Machine(lag=1)
    job = machine.add("job", [1], 3)
    num_steps = 0
    while machine.scheduler.plan() is not None:
        num_steps += 1
    assert (num_steps, job.num_asked) == (3, 3)
