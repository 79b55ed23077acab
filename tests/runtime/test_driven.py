"""Other people's code: how each end of a call is told, that it ends in time, and that a thread keeps no process."""

import asyncio
import gc
import subprocess
import sys
import threading
import time

import pytest

from vtuber_brain.errors import Unavailable
from vtuber_brain.runtime.driven import bounded, in_thread


async def call(function, timeout_s=10.0, grace_s=0.05, on_step=lambda _: None):
    return await bounded(function, timeout_s, grace_s, on_step)


async def test_a_value_comes_back_through_any_number_of_waits():
    async def adds():
        return sum([await asyncio.sleep(0, result=1) for _ in range(10)])

    assert (await call(adds)).value == 10


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, GeneratorExit, TimeoutError, StopAsyncIteration])
async def test_whatever_it_raises_is_told_and_not_raised(error):
    async def fails():
        await asyncio.sleep(0)
        raise error("no")

    outcome = await call(fails)
    assert (type(outcome.error), outcome.late) == (error, None)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_leaving_the_process_is_an_error_like_others(error):
    async def leaves():
        raise error(3)

    outcome = await call(leaves)
    assert type(outcome.error) is Unavailable
    assert str(outcome.error) == f"{error.__name__}: 3"


async def test_its_own_timeouts_shields_and_groups_work_as_ever():
    async def awaits():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.sleep(0.05)), 0.01)
        async with asyncio.TaskGroup() as group:
            one = group.create_task(asyncio.sleep(0, result="one"))
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(_fails())
                await asyncio.Event().wait()
        return one.result(), await asyncio.to_thread(threading.get_ident) != threading.get_ident()

    assert (await call(awaits)).value == ("one", True)


async def _fails():
    raise ValueError("no")


async def test_one_that_is_late_is_cancelled_and_may_tidy_up_while_it_has_grace():
    tidied = []

    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    outcome = await call(waits, timeout_s=0.01, grace_s=10)
    await asyncio.wait({outcome.late})
    assert tidied == [True]


def test_how_one_ends_that_nobody_waits_for_any_more_is_no_complaint():
    complaints = []

    async def fails_late():
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("late")

    async def calls():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await asyncio.wait({(await call(fails_late, timeout_s=0.01, grace_s=60)).late})

    asyncio.run(calls())
    gc.collect()
    assert complaints == []


async def test_one_that_takes_longer_than_its_grace_is_no_longer_run():
    goes_on = []

    async def stays():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                goes_on.append(True)

    outcome = await call(stays, timeout_s=0.01)
    async with asyncio.timeout(10):
        await asyncio.wait({outcome.late})
    assert (outcome.late.cancelled(), goes_on) == (True, [True])


async def test_our_own_cancellation_goes_through_and_reaches_the_call():
    reached, begun = asyncio.Event(), asyncio.Event()

    async def waits():
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            reached.set()

    waiting = asyncio.create_task(call(waits))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(10):
        await reached.wait()


async def test_our_own_cancellation_before_the_first_step_leaves_no_coroutine_behind():
    waiting = asyncio.create_task(call(_fails))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_each_step_is_timed_and_waiting_is_none():
    steps_s = []

    async def blocks():
        await asyncio.sleep(0.2)
        time.sleep(0.1)  # noqa: ASYNC251 - it is what must not be done
        await asyncio.sleep(0.2)

    await call(blocks, on_step=steps_s.append)
    assert len(steps_s) == 3
    assert 0.1 <= steps_s[1] == max(steps_s)
    assert steps_s[0] + steps_s[2] < 0.2


async def test_a_thread_gives_its_result():
    assert await in_thread(threading.get_ident) != threading.get_ident()


async def test_a_thread_whose_result_nobody_waits_for_disturbs_nobody():
    gate, threads, complaints = threading.Event(), [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    def work():
        threads.append(threading.current_thread())
        gate.wait()

    waiting = asyncio.create_task(in_thread(work))
    await asyncio.wait({waiting}, timeout=0.01)
    waiting.cancel()
    await asyncio.wait({waiting})
    gate.set()
    await asyncio.to_thread(threads[0].join)
    await asyncio.sleep(0)
    assert complaints == []


def test_a_thread_that_hangs_keeps_no_process_from_ending():
    code = (
        "import asyncio, threading\nfrom vtuber_brain.runtime.driven import in_thread\n"
        "async def main():\n    asyncio.create_task(in_thread(threading.Event().wait))\n    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
