"""Supervision, against a real process that dies, hangs, talks garbage or refuses."""

import asyncio
import contextlib
import os
import signal

import pytest

from tests.support.echo_child import PROTOCOL, Say
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.runtime.child import Child, Supervision

FAST = Supervision(
    start_timeout_s=20, ping_s=0.05, slow_s=0.2, dead_s=0.6, stop_s=0.5, backoff_s=0.01, backoff_max_s=0.05
)


class Watched:
    """A child, what it said, and every state it went through; waits for conditions, never for time."""

    def __init__(self, first="echo", supervision=FAST, prepare=None):
        self.said, self.states, self.changed = [], [], asyncio.Condition()
        self.child = Child(
            "echo",
            "tests.support.echo_child",
            PROTOCOL,
            Say(first),
            supervision,
            on_message=lambda message: self._note(self.said, message.text),
            on_state=lambda state, reason: self._note(self.states, (state, reason)),
            prepare=prepare,
        )

    def _note(self, where, what):
        where.append(what)
        asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self):
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition):
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(condition)

    def num(self, state):
        return sum(seen == state for seen, _ in self.states)


@contextlib.asynccontextmanager
async def running(watched):
    task = asyncio.create_task(watched.child.run())
    try:
        await watched.until(lambda: watched.num("ready") > 0)
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_starts_answers_and_stops():
    async with running(Watched()) as watched:
        pid = watched.child.pid
        assert watched.child.facts == {"pid": pid}
        watched.child.send(Say("hello"))
        await watched.until(lambda: watched.said == ["hello"])
    assert not alive(pid)


async def test_a_killed_child_is_started_again():
    async with running(Watched()) as watched:
        first = watched.child.pid
        os.kill(first, signal.SIGKILL)
        await watched.until(lambda: watched.num("ready") == 2)
        assert watched.child.pid != first
        watched.child.send(Say("again"))
        await watched.until(lambda: watched.said == ["again"])


async def test_a_hung_child_is_slow_then_killed_and_started_again():
    async with running(Watched()) as watched:
        first = watched.child.pid
        watched.child.send(Say("hang"))
        await watched.until(lambda: watched.num("ready") == 2)
        assert [state for state, _ in watched.states] == ["starting", "ready", "slow", "down", "starting", "ready"]
        assert not alive(first)


async def test_a_stopped_child_that_wakes_in_time_is_kept():
    patient = Supervision(start_timeout_s=20, ping_s=0.05, slow_s=0.2, dead_s=15, stop_s=0.5)
    async with running(Watched(supervision=patient)) as watched:
        os.kill(watched.child.pid, signal.SIGSTOP)
        await watched.until(lambda: watched.num("slow") == 1)
        os.kill(watched.child.pid, signal.SIGCONT)
        await watched.until(lambda: watched.num("ready") == 2)
        assert watched.child.num_starts == 1


async def test_garbage_on_the_line_costs_the_child_its_life():
    async with running(Watched()) as watched:
        watched.child.send(Say("garbage"))
        await watched.until(lambda: watched.num("ready") == 2)
        assert any(state == "down" and "not a message" in reason for state, reason in watched.states)


async def test_a_child_that_prints_without_end_is_not_stopped_by_a_full_pipe():
    async with running(Watched()) as watched:
        for _ in range(3):
            watched.child.send(Say("shout"))
        await watched.until(lambda: watched.said == ["shout"] * 3)
        assert watched.child.num_starts == 1


async def test_a_child_that_will_not_stop_is_killed():
    async with running(Watched()) as watched:
        pid = watched.child.pid
        watched.child.send(Say("stubborn"))
    assert not alive(pid)


async def test_a_hung_child_does_not_outlive_who_is_stopped_while_ending_it():
    async with running(Watched()) as watched:
        pid = watched.child.pid
        os.kill(pid, signal.SIGSTOP)
        await watched.until(lambda: watched.num("down") == 1)
    async with asyncio.timeout(5):
        while alive(pid):
            await asyncio.sleep(0)


async def test_a_refusal_is_final():
    watched = Watched("refuse")
    with pytest.raises(Refused, match="it never will"):
        await asyncio.wait_for(watched.child.run(), 20)
    assert watched.child.num_starts == 1


async def test_one_that_has_worked_and_is_refused_is_tried_until_it_works_again():
    async with running(Watched()) as watched:
        watched.child._first = Say("refuse")
        os.kill(watched.child.pid, signal.SIGKILL)
        await watched.until(lambda: [reason for _, reason in watched.states].count("it never will") == 2)
        watched.child._first = Say("echo")
        await watched.until(lambda: watched.num("ready") == 2)


async def test_a_child_that_never_gets_ready_is_tried_again():
    watched = Watched("silent", Supervision(start_timeout_s=0.3, backoff_s=0.01, backoff_max_s=0.02, stop_s=0.2))
    task = asyncio.create_task(watched.child.run())
    await watched.until(lambda: watched.num("starting") == 2)
    assert any("not ready within" in reason for _, reason in watched.states)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_message_to_a_child_that_is_not_there_is_refused():
    with pytest.raises(Unavailable, match="echo process is down"):
        Watched().child.send(Say("anyone?"))


async def test_a_sleeping_child_is_gone_and_one_that_is_woken_is_new():
    async with running(Watched()) as watched:
        first = watched.child.pid
        await asyncio.wait_for(watched.child.sleep(), 10)
        assert not alive(first)
        assert watched.states[-1] == ("asleep", "")
        with pytest.raises(Unavailable, match="echo process is asleep"):
            watched.child.send(Say("anyone?"))
        waiting = asyncio.create_task(watched.child.wait_ready())
        watched.child.wake()
        facts = await asyncio.wait_for(waiting, 20)
        assert facts == {"pid": watched.child.pid} != {"pid": first}
        assert [state for state, _ in watched.states] == ["starting", "ready", "asleep", "starting", "ready"]


async def test_a_child_can_be_put_to_sleep_before_it_is_ready_and_while_it_is_dead():
    for first in ("silent", "echo"):
        watched = Watched(first)
        task = asyncio.create_task(watched.child.run())
        await watched.until(lambda watched=watched: watched.num("starting") == 1)
        if first == "echo":
            await watched.until(lambda watched=watched: watched.num("ready") == 1)
            os.kill(watched.child.pid, signal.SIGKILL)
            await watched.until(lambda watched=watched: watched.num("down") == 1)
        await asyncio.wait_for(watched.child.sleep(), 10)
        assert watched.child.pid is None or not alive(watched.child.pid)
        assert watched.child.state == "asleep"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert watched.child.state == "asleep"


async def test_sleep_wake_and_sleep_again_at_once_ends_asleep():
    async with running(Watched()) as watched:
        falling = asyncio.create_task(watched.child.sleep())
        await watched.until(lambda: watched.num("asleep") == 1)
        watched.child.wake()
        await asyncio.wait_for(watched.child.sleep(), 10)
        await falling
        assert not alive(watched.child.pid)
        assert watched.child.state == "asleep"


async def test_nobody_speaks_to_a_child_before_it_is_prepared():
    gate = asyncio.Event()

    async def prepare(send):
        send(Say("first of all"))
        await gate.wait()

    watched = Watched(prepare=prepare)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(watched.child.run())
        await watched.until(lambda: watched.said == ["first of all"])
        with pytest.raises(Unavailable, match="is starting"):
            watched.child.send(Say("too early"))
        os.kill(watched.child.pid, signal.SIGKILL)
        await watched.until(lambda: watched.num("starting") == 2)
        await watched.until(lambda: watched.said == ["first of all"] * 2)
        assert watched.num("ready") == 0
        gate.set()
        await watched.child.wait_ready()
        watched.child.send(Say("now"))
        await watched.until(lambda: watched.said[-1] == "now")
        task.cancel()
