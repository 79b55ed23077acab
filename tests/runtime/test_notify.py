"""What systemd hears, read from real Unix sockets."""

import os
import socket
import time
from collections.abc import Iterator

import pytest
import structlog.testing

from vtuber_brain.runtime import notify


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path, monkeypatch) -> Iterator[socket.socket]:
    """systemd's end of the socket, of both kinds."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.settimeout(5)
    if request.param == "file":
        address = shown = str(tmp_path / "notify")
    else:
        name = f"vtuber-brain-test-{os.getpid()}"
        address, shown = "\0" + name, "@" + name
    listener.bind(address)
    monkeypatch.setenv("NOTIFY_SOCKET", shown)
    with listener:
        yield listener


def heard(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_each_word_is_one_datagram(manager):
    notify.ready()
    notify.stopping()
    assert [heard(manager) for _ in range(2)] == [["READY=1"], ["STOPPING=1"]]


def test_a_reload_carries_the_monotonic_clock_in_microseconds(manager):
    before = time.monotonic_ns() // 1000
    notify.reloading()
    after = time.monotonic_ns() // 1000
    reload, clock = heard(manager)
    assert reload == "RELOADING=1"
    name, value = clock.split("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= after


def test_a_status_stays_one_line_so_that_no_text_can_pose_as_another_word(manager):
    notify.status("answering é\nSTOPPING=1\r\n twice")
    assert heard(manager) == ["STATUS=answering é STOPPING=1 twice"]


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_socket_nothing_is_said_and_nothing_is_logged(value, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    with structlog.testing.capture_logs() as logs:
        notify.ready()
        notify.reloading()
    assert logs == []


@pytest.mark.parametrize("address", ["/nowhere/at/all", "@nobody-listens-here", "vsock:2:1234", "/" + "x" * 300])
def test_a_socket_that_is_gone_is_logged_and_stops_nothing(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with structlog.testing.capture_logs() as logs:
        notify.ready()
    assert [(log["event"], log["state"], log["log_level"]) for log in logs] == [("notify_failed", "READY=1", "warning")]
    assert logs[0]["error"]


def test_a_manager_that_does_not_read_costs_no_more_than_the_timeout(tmp_path, monkeypatch):
    monkeypatch.setattr(notify, "SEND_TIMEOUT_S", 0.05)
    address = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf, structlog.testing.capture_logs() as logs:
        deaf.bind(address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        while not logs:  # until the socket's queue is full
            notify.ready()
    assert logs[0]["event"] == "notify_failed"
