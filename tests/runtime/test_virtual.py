"""The virtual clock: it jumps when all wait for timers, stands still while somebody outside works, and is obeyed."""

import asyncio
import socket
import threading
import time

import pytest

from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.runtime.virtual import EPOCH_S, VirtualLoop


def run(main):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def test_an_hour_passes_in_a_moment_and_to_the_second():
    async def main():
        await asyncio.sleep(3600)
        return now_s(), unix_s()

    started_s = time.monotonic()
    assert run(main()) == (3600.0, EPOCH_S + 3600.0)
    assert time.monotonic() - started_s < 5


def test_timers_go_off_in_order_each_at_its_own_time():
    seen = []

    async def wait(delay_s):
        await asyncio.sleep(delay_s)
        seen.append((delay_s, now_s()))

    async def main():
        await asyncio.gather(*(wait(delay_s) for delay_s in (5, 0.25, 90_000, 0.25, 3)))

    run(main())
    assert seen == [(0.25, 0.25), (0.25, 0.25), (3, 3.0), (5, 5.0), (90_000, 90_000.0)]


def test_no_time_passes_while_anything_is_ready():
    async def main():
        timer = asyncio.create_task(asyncio.sleep(1))
        for _ in range(1000):
            await asyncio.sleep(0)
            assert now_s() == 0
        await timer
        return now_s()

    assert run(main()) == 1.0


def test_a_deadline_ends_what_waits_for_nobody():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await asyncio.Event().wait()
        return now_s()

    assert run(main()) == 20.0


def test_the_clock_stands_still_while_a_thread_is_at_work():
    release = threading.Event()

    async def main():
        asyncio.get_running_loop().call_later(3, lambda: None)  # a timer that would be jumped to
        threading.Timer(0.2, release.set).start()
        async with asyncio.timeout(1):
            assert await asyncio.to_thread(release.wait, 60)
        worked_until = now_s()
        await asyncio.sleep(2)
        return worked_until, now_s()

    assert run(main()) == (0.0, 2.0)


def test_a_thread_that_nobody_waits_for_any_more_does_not_stop_the_clock():
    release = threading.Event()

    async def main():
        task = asyncio.create_task(asyncio.to_thread(release.wait, 60))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(30)
        release.set()
        return now_s()

    assert run(main()) == 30.0


def test_sockets_are_refused_for_their_answers_would_come_too_late():
    ours, theirs = socket.socketpair()
    with ours, theirs:

        async def main():
            with pytest.raises(RuntimeError, match="no sockets"):
                asyncio.get_running_loop().add_reader(ours, lambda: None)

        run(main())


def test_other_loops_and_no_loop_have_the_clocks_of_the_machine():
    async def main():
        return now_s() - time.monotonic(), unix_s() - time.time()

    asked = asyncio.run(main())
    told = now_s() - time.monotonic(), unix_s() - time.time()
    assert all(abs(difference_s) < 1 for difference_s in (*asked, *told))
