"""What systemd is told of the daemon's getting on, under a clock in hand and on a real socket."""

import asyncio
import os
import socket

import pytest
import structlog.testing

from vtuber_brain.runtime import clock, watchdog
from vtuber_brain.runtime.watchdog import Busy, Progress, feed, interval_s


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """systemd's end of the socket; the watchdog is fed every 10 ms."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield listener


async def heard(manager):
    async with asyncio.timeout(5):
        return (await asyncio.get_running_loop().sock_recv(manager, 4096)).decode()


def emptied(manager):
    while True:
        try:
            manager.recv(4096)
        except BlockingIOError:
            return


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "", 15.0),
        pytest.param("30000000", str(os.getpid()), 15.0, id="ours"),
        ("30000000", "1", None),
        ("0", "", None),
        ("", "", None),
        ("soon", "", None),
        ("-5", "", None),
    ],
)
def test_it_is_fed_at_half_the_interval_where_this_process_is_asked_to(usec, pid, expected, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert interval_s() == expected


def test_a_part_is_as_stuck_as_its_oldest_work_is_old_and_not_at_all_while_it_has_none():
    now = [100.0]
    busy = Busy(lambda: now[0])
    first, second = busy.begin(), busy.begin()
    now[0] += 5
    third = busy.begin()
    now[0] += 1
    assert busy.stuck_s() == 6
    busy.end(first)
    busy.end(second)
    assert busy.stuck_s() == 1
    busy.end(third)
    assert busy.stuck_s() == 0


async def test_signs_of_life_stop_while_a_part_is_stuck_and_go_on_after_that(manager):
    stuck_s = [0.0]
    progress = Progress()
    progress.watch("bus", lambda: stuck_s[0], 30)
    progress.watch("engine", lambda: 0.0, 10)
    with structlog.testing.capture_logs() as logs:
        feeding = asyncio.create_task(feed(progress))
        assert [await heard(manager) for _ in range(3)] == ["WATCHDOG=1"] * 3
        stuck_s[0] = 31
        await asyncio.sleep(0)
        while not logs:
            await asyncio.sleep(0.005)
        emptied(manager)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.get_running_loop().sock_recv(manager, 4096)
        stuck_s[0] = 30
        assert await heard(manager) == "WATCHDOG=1"
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
    assert [(log["event"], log["stuck"]) for log in logs] == [("watchdog_withheld", {"bus": 31})]


async def test_a_jump_of_the_wall_clock_is_told_and_does_not_move_ours(manager, monkeypatch):
    real = watchdog.time.time
    before = clock.unix_s()
    with structlog.testing.capture_logs() as logs:
        feeding = asyncio.create_task(feed(Progress()))
        await heard(manager)
        monkeypatch.setattr(watchdog.time, "time", lambda: real() - 3600)
        while not logs:
            await asyncio.sleep(0.005)
        assert 0 <= clock.unix_s() - before < 5
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
    assert logs[0]["event"] == "clock_jumped"
    assert round(logs[0]["by_s"]) == -3600
