"""A lease ends with its holder, even a killed one, and tells others who holds it without disturbing anybody."""

import subprocess
import sys

import pytest

from vtuber_brain.errors import Unavailable
from vtuber_brain.runtime.lease import Taken, held, holder

HOLD = """
import sys
from pathlib import Path
from vtuber_brain.runtime.lease import held
with held(Path(sys.argv[1]), sys.argv[2], shared=sys.argv[3] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """A function that has another process hold the lease."""
    running = []

    def hold(what="the night", how="exclusive"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "a.lease"), what, how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in running:
        process.kill()
        process.communicate()


def test_one_holds_it_and_the_next_is_told_who(tmp_path, other):
    lease = tmp_path / "a.lease"
    assert holder(lease) is None
    process = other()
    assert (holder(lease).pid, holder(lease).what) == (process.pid, "the night")
    with pytest.raises(Taken, match=rf"the night \(pid {process.pid}\)") as taken, held(lease, "me"):
        pass
    assert isinstance(taken.value, Unavailable)
    assert taken.value.holder.pid == process.pid


def test_a_killed_holder_holds_nothing_any_more(tmp_path, other):
    process = other()
    process.kill()
    process.wait()
    assert holder(tmp_path / "a.lease") is None
    with held(tmp_path / "a.lease", "me"):
        pass


def test_many_share_it_and_looking_disturbs_nobody(tmp_path, other):
    lease = tmp_path / "a.lease"
    first, second = other("one", "shared"), other("two", "shared")
    assert holder(lease).what == "two"
    with pytest.raises(Taken), held(lease, "me"):
        pass
    with held(lease, "three", shared=True):
        second.kill()
        second.wait()
        first.kill()
        first.wait()
        assert holder(lease).what == "three"
    assert holder(lease) is None


def test_a_lease_that_says_nothing_is_still_held(tmp_path, other):
    other()
    (tmp_path / "a.lease").write_text("torn")
    assert str(holder(tmp_path / "a.lease")) == "a process (pid unknown)"
