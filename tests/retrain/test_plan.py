"""What a night begins with, and what keeps it from beginning."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.releases.makers import SERVED, manifest, weights
from vtuber_brain.air import Air
from vtuber_brain.errors import Unavailable
from vtuber_brain.messages import Turn
from vtuber_brain.releases.publish import publish
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.retrain.journal import STEPS, Results, open_night
from vtuber_brain.retrain.plan import alone, check_streams, make_plan, nights_of
from vtuber_brain.runtime.lease import LIVE, ON_AIR, held, holder
from vtuber_brain.transcripts.store import Transcripts
from vtuber_brain.transcripts.viewers import forget

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from vtuber_brain.retrain.plan import alone
with alone(Path(sys.argv[1]), "mori"):
    print("alone", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "transcripts.db"


@pytest.fixture
def look(tmp_path, path):
    """A function that plans mori's next night."""
    store = ReleaseStore(tmp_path / "personas")
    return lambda **options: make_plan(path, "mori", store, nights_of(tmp_path, "mori"), **options)


async def stream(path, persona="mori"):
    async with Transcripts.open(path, persona=persona, model="tiny", release=None) as transcripts:
        await transcripts.append(Turn("r", None, "spoken", "Hm.", "Hm.", persona, "tiny", None, musing="wonder"))


async def test_streams_that_have_ended_are_learnt_from_and_the_new_ones_are_known(tmp_path, path, look):
    assert look().streams == ()
    await stream(path)
    await stream(path, "bolt")
    await stream(path)
    assert (look().streams, look().new, look().parent) == ((1, 3), (1, 3), None)
    for outcome in ("rejected", None):
        journal = open_night(nights_of(tmp_path, "mori"), 1e9)
        journal.do("planned", {}, lambda _folder: Results(figures={"streams": look().streams}))
        for step in STEPS[1:] if outcome else ():
            journal.do(step, {}, lambda _folder, outcome=outcome: Results(figures={"outcome": outcome}))
        await stream(path)
    assert look().new == (4, 5), "a night that is not over has learnt nothing yet"
    folder = weights(tmp_path / "out", 1)
    publish(ReleaseStore(tmp_path / "personas"), folder, manifest(folder), SERVED)
    assert look().parent.name.startswith("2027")


async def test_a_live_stream_is_refused_by_name_unless_there_is_a_reason(path, look):
    await stream(path)
    async with Transcripts.open(path, persona="mori", model="tiny", release=None) as transcripts:
        await transcripts.append(Turn("r", None, "spoken", "Hm.", "Hm.", "mori", "tiny", None, musing="wonder"))
        running = held(path.with_name(LIVE), "the daemon of mori", shared=True)
        with running, held(path.with_name(ON_AIR), "the daemon of mori", shared=True):
            with pytest.raises(Unavailable, match=r"the daemon of mori \(pid \d+\).*--while-live"):
                look()
            plan = look(force="he sleeps on stream")
            assert (plan.streams, plan.forced) == ((1,), "he sleeps on stream")
            assert plan.live.what == "the daemon of mori"
        assert look().streams == (1, 2), "one that ended by a crash"


async def test_beside_a_daemon_that_sleeps_what_it_ended_is_learnt_and_what_it_began_is_not(path, look):
    with held(path.with_name(LIVE), "the daemon of mori", shared=True):
        async with Transcripts.open(path, persona="mori", model="tiny", release=None) as transcripts:
            air = Air(transcripts, path, "mori")
            await transcripts.append(Turn("r", None, "spoken", "Hm.", "Hm.", "mori", "tiny", None, musing="wonder"))
            with air.live():
                with pytest.raises(Unavailable, match="live"):
                    look()
                await air.end()
                await air.end()
                await transcripts.append(Turn("s", None, "spoken", "Hm.", "Hm.", "mori", "tiny", None, musing="wonder"))
                assert (look().streams, transcripts.stream_id) == ((1,), 2)
                air.begin()
                assert holder(path.with_name(ON_AIR)).what == "the daemon of mori"
            assert holder(path.with_name(ON_AIR)) is None


def test_a_second_night_is_refused_by_its_process_and_a_killed_one_hinders_nobody(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout.readline() == "alone\n"
        with (
            pytest.raises(Unavailable, match=rf"another night.*mori \(pid {process.pid}\)"),
            alone(tmp_path, "bolt"),
        ):
            pass
        process.kill()
        process.wait()
    with alone(tmp_path, "bolt"):
        pass


async def test_no_stream_is_no_night_but_a_corpus_or_a_reason_is(path, look):
    with pytest.raises(Unavailable, match="no stream of mori"):
        check_streams(look(), 0)
    check_streams(look(), 1)
    check_streams(look(force="to see"), 0)
    await stream(path)
    check_streams(look(), 0)


async def test_a_forgotten_viewer_leaves_a_stream_to_be_planned_with(path, look):
    await stream(path)
    forget(path, "websocket", "nobody")
    assert look().streams == (1,)
