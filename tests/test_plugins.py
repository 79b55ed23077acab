"""Plugins that do wrong in every way, and the daemon that does not mind."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import structlog

from tests.support.brokers import free_port
from tests.support.bus import message, utterance
from tests.support.plugins import install, plant
from vtuber_brain.config import Settings, state_dir
from vtuber_brain.errors import JudgeDown, Refused, Unavailable
from vtuber_brain.manifests import State
from vtuber_brain.messages import Retraction
from vtuber_brain.plugin_api import API_VERSION, Event
from vtuber_brain.plugins import Plugins
from vtuber_brain.publisher import MAX_WAITING_EVENTS
from vtuber_brain.runtime.guard import Limits
from vtuber_brain.runtime.metrics import Metrics

ROOT = Path(__file__).parents[1]
PAGE = ROOT.joinpath("docs", "plugins.md").read_text()
QUICK = Limits(
    setup_s=0.2, judge_s=0.1, recall_s=0.1, emit_s=0.1, block_s=0.1, grace_s=0.05, max_failures=3, rest_s=0.2
)
SINK = """
import asyncio
from vtuber_brain.plugin_api import Event, Registry

class One:
    name = "one"
    def __init__(self, settings):
        self.settings, self.events = settings, []
    async def emit(self, event):
        self.events.append(event)
        {emit}

async def setup(registry, settings):
    {setup}
    registry.add_sink(One(settings))
"""
MUTE = """
class Mute(Exception):
    def __str__(self): raise RuntimeError("no words")
    def __len__(self): return 0
"""
HOOK = """
import asyncio, sys
from vtuber_brain.plugin_api import Verdict, Retraction
from vtuber_brain.errors import Refused, Unavailable

class One:
    name = "one"
    async def {method}(self, given):
        {body}

async def setup(registry, settings):
    registry.add_{hook}(One())
"""


def sink(*, emit: str = "pass", setup: str = "pass") -> str:
    return SINK.format(emit=emit, setup=setup)


def hook(name: str, method: str, body: str) -> dict[str, str]:
    return {"code": HOOK.format(hook=name, method=method, body=body), "hooks": f'["{name}"]'}


@pytest.fixture(autouse=True)
def _no_plugin_stays() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.startswith(("vtuber_brain_plugin_", "flute"))]:
        del sys.modules[name]


async def start(place: Path, *names: str, **settings) -> Plugins:
    return await Plugins.start(dict.fromkeys(names, settings), Metrics(), places=[place], limits=QUICK)


def into(delivered: list):
    async def deliver(one) -> None:
        delivered.append(one)

    return deliver


def failures(metrics: Metrics, plugin: str) -> float:
    return metrics.errors.labels(f"plugin_{plugin}")._value.get()


def up(metrics: Metrics, plugin: str) -> float:
    return metrics.registry.get_sample_value("vtb_up", {"part": f"plugin_{plugin}"})


async def test_what_is_on_is_set_up_with_its_settings_and_what_is_off_is_not_imported(tmp_path):
    plant(tmp_path, "good", code=sink())
    plant(tmp_path, "idle")
    plugins = await start(tmp_path, "good", volume=3)
    assert [(one.name, one.state) for one in plugins.statuses] == [("good", "on"), ("idle", "off")]
    (there,) = plugins.sinks
    assert there.name == "good.one"
    await there.emit(utterance(0))
    assert there._inner.events == [utterance(0)]
    assert there._inner.settings == {"volume": 3}
    assert "vtuber_brain_plugin_idle" not in sys.modules


async def test_every_hook_is_collected_in_the_order_of_the_plugins_names(tmp_path):
    code = "".join(
        f"class {hook.title()}:\n    name = '{hook}'\n    async def {method}(self, given): pass\n"
        for hook, method in [("source", "run"), ("judge", "judge"), ("recall", "recall"), ("sink", "emit")]
    )
    code += "async def setup(registry, settings):\n" + "".join(
        f"    registry.add_{hook}({hook.title()}())\n" for hook in ("source", "judge", "recall", "sink")
    )
    for name in ("beta", "alpha"):
        all_hooks = '["source", "judge", "recall", "sink"]'
        plant(tmp_path, name, code=code, hooks=all_hooks)
    plugins = await start(tmp_path, "alpha", "beta")
    for kind in ("source", "judge", "recall", "sink"):
        assert [one.name for one in getattr(plugins, f"{kind}s")] == [f"alpha.{kind}", f"beta.{kind}"]


async def test_a_plugin_may_have_files_of_its_own(tmp_path):
    folder = plant(tmp_path, "good", code="from .inner import setup\n")
    folder.joinpath("inner.py").write_text(sink())
    assert len((await start(tmp_path, "good")).sinks) == 1


async def test_an_installed_plugin_is_set_up(tmp_path, monkeypatch):
    install(tmp_path, "flute_plugin", "flute", monkeypatch, code=sink())
    plugins = await start(tmp_path / "elsewhere", "flute")
    assert [one.state for one in plugins.statuses] == ["on"]
    assert len(plugins.sinks) == 1


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ImportError('no libflute')", "ImportError: no libflute"),
        ("import no_such_module_here", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("x = 1", "no `async def setup(registry, settings)`"),
        ("def setup(registry, settings): pass", "no `async def setup(registry, settings)`"),
        (sink(setup="raise KeyError('volume')"), "KeyError: 'volume'"),
        (sink(setup="raise asyncio.CancelledError"), "CancelledError"),
        (f"{MUTE}raise Mute", "Mute: <exception str() failed>"),
        (sink(setup="await asyncio.Event().wait()"), "no answer within 0.2 s"),
        (sink(setup="registry.add_judge(One(settings))"), "a judge, which its plugin.toml does not name"),
        (sink(setup="registry.add_sink(object())"), "needs a `name` and an `async def emit`"),
        (sink(setup="One.emit = lambda self, event: None"), "needs a `name` and an `async def emit`"),
        (sink(setup="registry.add_sink(One(settings)); raise OSError('late')"), "OSError: late"),
    ],
)
async def test_what_fails_to_start_has_failed_with_a_reason_leaves_nothing_and_stops_nobody(tmp_path, code, told):
    plant(tmp_path, "bad", code=code)
    plant(tmp_path, "good", code=sink())
    plugins = await start(tmp_path, "bad", "good")
    assert [(one.name, one.state) for one in plugins.statuses] == [("bad", "failed"), ("good", "on")]
    assert told in plugins.statuses[0].detail
    assert len(plugins.sinks) == 1


async def test_half_an_import_is_forgotten_so_that_a_mended_plugin_starts(tmp_path):
    code = plant(tmp_path, "good", code="raise ImportError('not yet')").joinpath("__init__.py")
    assert (await start(tmp_path, "good")).statuses[0].state == "failed"
    assert "vtuber_brain_plugin_good" not in sys.modules
    code.write_text(sink())
    assert (await start(tmp_path, "good")).statuses[0].state == "on"


async def test_an_import_that_hangs_is_given_up(tmp_path):
    gate = tmp_path / "gate"
    plant(tmp_path, "bad", code=f"import os\nos.mkfifo({str(gate)!r})\nwith open({str(gate)!r}) as gate: gate.read()\n")
    started_s = time.monotonic()
    plugins = await start(tmp_path, "bad")
    assert time.monotonic() - started_s < 5
    assert "no answer within 0.2 s" in plugins.statuses[0].detail
    gate.write_text("go on")


async def test_nothing_can_be_added_after_setup(tmp_path):
    plant(tmp_path, "late", code=sink(setup="One.registry = registry"))
    (there,) = (await start(tmp_path, "late")).sinks
    with pytest.raises(Refused, match="after its setup"):
        there._inner.registry.add_sink(there._inner)


async def test_our_own_cancellation_goes_through_a_setup(tmp_path):
    plant(tmp_path, "slow", code=sink(setup="await asyncio.Event().wait()"))
    starting = asyncio.create_task(Plugins.start({"slow": {}}, Metrics(), places=[tmp_path]))
    await asyncio.wait({starting}, timeout=0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


@pytest.mark.parametrize(
    "emit",
    ["raise ValueError('no')", "await asyncio.Event().wait()", "raise asyncio.CancelledError", "raise SystemExit(2)"],
)
async def test_a_sink_that_fails_is_counted_left_alone_for_a_while_and_tried_again(tmp_path, emit):
    plant(tmp_path, "bad", code=sink(emit=emit))
    metrics = Metrics()
    plugins = await Plugins.start({"bad": {}}, metrics, places=[tmp_path], limits=QUICK)
    (there,) = plugins.sinks
    for seq in range(6):
        await there.emit(utterance(seq))
    assert len(there._inner.events) == QUICK.max_failures == failures(metrics, "bad")
    async with asyncio.timeout(10):
        while len(there._inner.events) == QUICK.max_failures:
            await asyncio.wait([asyncio.create_task(there.emit(utterance(9)))], timeout=1)
    await there.emit(utterance(10))
    assert len(there._inner.events) == QUICK.max_failures + 1, "still failing: one try, then left alone again"


async def test_a_success_forgets_the_failures_before_it(tmp_path):
    plant(tmp_path, "good", code=sink(emit="assert event.seq % 3 == 2"))
    (there,) = (await start(tmp_path, "good")).sinks
    for seq in range(12):
        await there.emit(utterance(seq))
    assert len(there._inner.events) == 12


@pytest.mark.parametrize(
    "body", ["raise ValueError('no')", "return None", "return True", "await asyncio.Event().wait()"]
)
async def test_a_judge_that_fails_is_down(tmp_path, body):
    plant(tmp_path, "bad", **hook("judge", "judge", body))
    (judge,) = (await start(tmp_path, "bad")).judges
    for _ in range(QUICK.max_failures + 1):
        with pytest.raises(JudgeDown, match="judge of bad"):
            await judge.judge(message())


async def test_a_judge_that_works_is_heard(tmp_path):
    plant(tmp_path, "good", **hook("judge", "judge", "return Verdict('deny', ('flute',), given.text)"))
    (judge,) = (await start(tmp_path, "good")).judges
    assert (await judge.judge(message("la"))).reasons == ("flute",)


@pytest.mark.parametrize(
    "body", ["raise ValueError('no')", "return None", "return 'a fact'", "return [1]", "await asyncio.Event().wait()"]
)
async def test_a_recall_that_fails_remembers_nothing(tmp_path, body):
    plant(tmp_path, "bad", **hook("recall", "recall", body))
    (recall,) = (await start(tmp_path, "bad")).recalls
    assert await recall.recall(message()) == ()


async def test_a_recall_that_works_is_heard(tmp_path):
    plant(tmp_path, "good", **hook("recall", "recall", "return [given.author.name, 'likes tea']"))
    (recall,) = (await start(tmp_path, "good")).recalls
    assert await recall.recall(message()) == ("Wren", "likes tea")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise OSError('unplugged')", Unavailable),
        ("raise Unavailable('later')", Unavailable),
        ("raise asyncio.CancelledError", Unavailable),
        ("sys.exit(1)", Unavailable),
        ("raise Refused('banned')", Refused),
    ],
)
async def test_a_source_that_ends_badly_asks_to_be_started_again_or_given_up(tmp_path, body, error):
    plant(tmp_path, "bad", **hook("source", "run", body))
    (source,) = (await start(tmp_path, "bad")).sources
    with pytest.raises(error):
        await source.run(lambda _: asyncio.Event().wait())


async def test_a_source_may_run_for_long_and_delivers(tmp_path):
    body = "await given(Retraction('flute', 'all', None, 1.0)); await asyncio.wait_for(asyncio.Event().wait(), 0.15)"
    plant(tmp_path, "good", **hook("source", "run", body))
    (source,) = (await start(tmp_path, "good")).sources
    delivered = []
    with pytest.raises(Unavailable, match="TimeoutError"):
        await source.run(into(delivered))
    assert delivered == [Retraction("flute", "all", None, 1.0)]


async def test_an_error_that_cannot_even_be_told_is_one_like_others(tmp_path):
    wrong = hook("source", "run", "raise Mute")
    plant(tmp_path, "bad", code=MUTE + wrong["code"], hooks=wrong["hooks"])
    (source,) = (await start(tmp_path, "bad")).sources
    with pytest.raises(Unavailable, match="the source of bad failed: Mute: <exception str"):
        await source.run(into([]))


async def test_what_a_source_delivers_and_we_could_not_use_comes_back_to_it(tmp_path):
    plant(tmp_path, "bad", **hook("source", "run", "await given('hello')"))
    (source,) = (await start(tmp_path, "bad")).sources
    delivered = []
    with pytest.raises(Unavailable, match="WireError: a source delivered a str"):
        await source.run(into(delivered))
    assert delivered == []


async def test_a_source_that_delivers_has_not_failed_in_a_row(tmp_path):
    body = "await given(Retraction('flute', 'all', None, 1.0)); raise OSError('unplugged')"
    plant(tmp_path, "bad", **hook("source", "run", body))
    plugins = await start(tmp_path, "bad")
    delivered = []
    for _ in range(3 * QUICK.max_failures):
        with pytest.raises(Unavailable, match="unplugged"):
            await plugins.sources[0].run(into(delivered))
    assert len(delivered) == 3 * QUICK.max_failures
    assert plugins.statuses[0].state == "on"


async def test_our_own_cancellation_goes_through_a_call(tmp_path):
    plant(tmp_path, "good", **hook("source", "run", "await asyncio.Event().wait()"))
    (source,) = (await start(tmp_path, "good")).sources
    running = asyncio.create_task(source.run(lambda _: asyncio.Event().wait()))
    await asyncio.wait({running}, timeout=0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def ends(body: str) -> str:
    """A call that is cancelled and goes on with `body`, for ever."""
    return f"""
        while True:
            try:
                await asyncio.Event().wait()
            except {body}:
                pass
"""


@pytest.mark.parametrize("goes_on", [ends("asyncio.CancelledError"), ends("(GeneratorExit, asyncio.CancelledError)")])
async def test_a_call_that_takes_no_cancellation_is_let_go(tmp_path, goes_on):
    plant(tmp_path, "bad", **hook("recall", "recall", goes_on))
    (recall,) = (await start(tmp_path, "bad")).recalls
    before = asyncio.all_tasks()
    assert await recall.recall(message()) == ()
    left = asyncio.all_tasks() - before
    assert len(left) == 1, "it still has its grace"
    _, running = await asyncio.wait(left, timeout=10)
    assert not running


async def test_calls_that_do_not_end_are_few(tmp_path):
    plant(tmp_path, "bad", **hook("sink", "emit", ends("asyncio.CancelledError")))
    limits = replace(QUICK, grace_s=0.5, rest_s=0.0)
    plugins = await Plugins.start({"bad": {}}, Metrics(), places=[tmp_path], limits=limits)
    before = asyncio.all_tasks()
    for seq in range(3 * limits.max_failures):
        await plugins.sinks[0].emit(utterance(seq))
    left = asyncio.all_tasks() - before
    assert len(left) == limits.max_failures
    await asyncio.wait(left, timeout=10)
    assert plugins.statuses[0].state == "failed"


async def test_a_call_that_blocks_is_heard_and_counts_as_a_failure(tmp_path):
    plant(tmp_path, "bad", **hook("recall", "recall", "import time; time.sleep(0.11); return ['likes tea']"))
    plugins = await start(tmp_path, "bad")
    (recall,) = plugins.recalls
    for _ in range(QUICK.max_failures):
        assert await recall.recall(message()) == ("likes tea",)
    assert await recall.recall(message()) == ()
    assert "it kept everything waiting for 0." in plugins.statuses[0].detail


async def test_what_waits_for_somebody_who_blocks_is_not_blamed(tmp_path):
    plant(tmp_path, "good", **hook("recall", "recall", "await asyncio.sleep(0); return ['likes tea']"))
    plugins = await start(tmp_path, "good")
    for _ in range(2 * QUICK.max_failures):
        asyncio.get_running_loop().call_soon(time.sleep, 0.11)
        assert await plugins.recalls[0].recall(message()) == ("likes tea",)
    assert plugins.statuses[0].state == "on"


async def test_a_hook_left_alone_shows_in_status_and_metrics_and_is_logged_once_until_it_is_back(tmp_path):
    metrics, name = Metrics(), "sometimes"
    plant(tmp_path, name, code=sink(emit="assert event.final, event.text"))
    plugins = await Plugins.start({name: {}}, metrics, places=[tmp_path], limits=QUICK)
    (there,) = plugins.sinks
    assert up(metrics, name) == 1
    with structlog.testing.capture_logs() as logged:
        for seq in range(10):
            await there.emit(utterance(seq))
        (status,) = plugins.statuses
        assert (status.state, status.version, status.hooks) == ("failed", "1.2", ("sink",))
        assert status.detail.startswith("its sink failed 3 times in a row and is tried every 0.2 s: AssertionError in")
        assert up(metrics, name) == 0
        async with asyncio.timeout(10):
            while failures(metrics, name) == QUICK.max_failures:  # tried, and still failing: no news
                await asyncio.wait([asyncio.create_task(there.emit(utterance(9)))], timeout=1)
            while plugins.statuses[0].state == "failed":
                await asyncio.wait([asyncio.create_task(there.emit(utterance(9, final=True)))], timeout=1)
    assert up(metrics, name) == 1
    assert [one["event"] for one in logged] == ["plugin_failed", "plugin_left_alone", "plugin_works_again"]


@pytest.mark.parametrize(("kind", "method"), [("judge", "judge"), ("recall", "recall")])
async def test_what_a_viewer_wrote_stands_in_no_log_and_no_status(tmp_path, kind, method):
    plant(tmp_path, "bad", **hook(kind, method, "raise ValueError(given.text)"))
    plugins = await start(tmp_path, "bad")
    with structlog.testing.capture_logs() as logged:
        for _ in range(QUICK.max_failures):
            with contextlib.suppress(JudgeDown):
                await getattr(getattr(plugins, f"{kind}s")[0], method)(message("my secret diary"))
    (status,) = plugins.statuses
    assert "ValueError in bad/__init__.py, line 9" in status.detail
    assert "diary" not in f"{logged}{status}"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit(3)", "SystemExit in bad/__init__.py, line 9"),
        ("return 'deny'", "WireError: a judge returned no Verdict"),
        ("await asyncio.Event().wait()", "no answer within 0.1 s"),
        ("raise asyncio.CancelledError", "CancelledError"),
    ],
)
async def test_the_status_tells_its_author_where_to_look(tmp_path, body, told):
    plant(tmp_path, "bad", **hook("judge", "judge", body))
    plugins = await start(tmp_path, "bad")
    for _ in range(QUICK.max_failures):
        with contextlib.suppress(JudgeDown):
            await plugins.judges[0].judge(message())
    assert f"is tried every 0.2 s: {told}" in plugins.statuses[0].detail


async def test_one_call_tries_a_hook_left_alone_and_one_that_we_cancel_lets_the_next_try(tmp_path):
    body = "assert given.text != 'fail'; given.text == 'wait' and await asyncio.Event().wait(); return ['likes tea']"
    plant(tmp_path, "good", **hook("recall", "recall", body))
    limits = replace(QUICK, recall_s=10, rest_s=0.05)
    (recall,) = (await Plugins.start({"good": {}}, Metrics(), places=[tmp_path], limits=limits)).recalls
    for _ in range(limits.max_failures):
        await recall.recall(message("fail"))
    trial = asyncio.create_task(recall.recall(message("wait")))
    async with asyncio.timeout(10):
        while trial in (await asyncio.wait([trial], timeout=0.01))[0]:
            trial = asyncio.create_task(recall.recall(message("wait")))
    assert await recall.recall(message()) == (), "one is trying"
    trial.cancel()
    await asyncio.wait([trial])
    assert await recall.recall(message()) == ("likes tea",)


async def test_a_plugin_has_a_folder_of_its_own(tmp_path):
    plant(tmp_path, "good", code=sink(setup="(registry.state_dir / 'notes').write_text(settings['word'])"))
    await start(tmp_path, "good", word="tea")
    assert state_dir().joinpath("plugin_state", "good", "notes").read_text() == "tea"


HOST = """
import asyncio, sys
from pathlib import Path
from vtuber_brain.plugins import Plugins
from vtuber_brain.runtime.guard import Limits
from vtuber_brain.runtime.metrics import Metrics

async def host():
    limits = Limits(setup_s=0.2, grace_s=0.1)
    plugins = await Plugins.start({"hangs": {}, "stays": {}}, Metrics(), places=[Path(sys.argv[1])], limits=limits)
    print([one.state for one in plugins.statuses])
    running = asyncio.create_task(plugins.sources[0].run(None))
    await asyncio.wait([running], timeout=0.1)
    running.cancel()

asyncio.run(host())
print("ended")
"""


def test_a_process_ends_though_a_plugin_hangs_in_its_import_and_another_takes_no_cancellation(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    plant(tmp_path, "hangs", code=f"open({str(gate)!r})")
    plant(tmp_path, "stays", **hook("source", "run", ends("BaseException")))
    command = [sys.executable, "-c", HOST, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, cwd=ROOT)
    assert "['failed', 'on']" in ended.stdout
    assert ended.stdout.endswith("ended\n")


def test_check_shows_each_plugin_with_version_hooks_state_and_reason(tmp_path):
    place = state_dir() / "plugins"
    plant(place, "bass", code="raise ImportError('no libbass')")
    plant(place, "cello", api="7")
    plant(place, "viola", code=sink())
    config = tmp_path / "brain.toml"
    config.write_text(
        f"[control]\nport = 0\n[websocket]\nport = {free_port()}\n[bus]\nport = {free_port()}\n"
        "[plugins.bass]\n[plugins.cello]\n[plugins.viola]\n[plugins.drum]\n"
    )
    command = [sys.executable, "-m", "vtuber_brain", "check", "--config", str(config)]
    env = {**os.environ, "COLUMNS": "400"}
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert checked.returncode == 2
    rows = [" ".join(line.split()) for line in checked.stdout.splitlines()]
    assert "plugin=" not in checked.stdout, "a table, no log"
    assert "wrong plugin bass 1.2 · sink · failed · its setup failed: ImportError: no libbass" in rows
    assert f"wrong plugin cello 1.2 · sink · refused · it was written for api 7, and this is {API_VERSION}" in rows
    assert any(row.startswith("wrong plugin drum refused · there is no such plugin") for row in rows)
    assert "ok plugin viola 1.2 · sink · on · Does good." in rows
    assert any(row.startswith("off plugin console_echo 1.0.0 · sink · off · ") for row in rows)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def test_the_ten_minutes_of_the_document_make_a_plugin(tmp_path):
    """Its commands, its files and its settings, in the order in which it tells them."""
    env = {"PATH": os.environ["PATH"], "VTB_STATE_DIR": str(state_dir())}
    (commands,), (code,) = blocks("bash"), blocks("python")
    copying = await asyncio.create_subprocess_exec("bash", "-euc", commands, cwd=ROOT, env=env)
    assert await copying.wait() == 0
    mine = state_dir() / "plugins" / "tea_time"
    plugins = await Plugins.start({"tea_time": {}}, Metrics())
    assert next(one for one in plugins.statuses if one.name == "tea_time").state == "on", "it loads as it is"
    (manifest,) = [block for block in blocks("toml") if block.startswith('name = "tea_time"')]
    mine.joinpath("plugin.toml").write_text(manifest)
    mine.joinpath("__init__.py").write_text(code)
    (settings,) = [block for block in blocks("toml") if block.startswith("[plugins.tea_time]")]
    plugins = await Plugins.start(tomllib.loads(settings)["plugins"], Metrics())
    (status,) = [one for one in plugins.statuses if one.name == "tea_time"]
    assert (status.state, status.version) == ("on", "0.1.0")
    assert await plugins.recalls[0].recall(message("Matcha, please!")) == ("seems to like matcha",)


def test_the_document_tells_the_limits_every_hook_every_state_and_every_shipped_plugin():
    limits = Limits()
    for told in (f"{limits.setup_s} s together", f"{limits.grace_s} s more", f"{limits.block_s} s (`time.sleep`"):
        assert told in PAGE
    assert f"{limits.max_failures} times in a row | it is left alone for {limits.rest_s} s" in PAGE
    assert f"up to {MAX_WAITING_EVENTS} wait" in PAGE
    times = {"source": "none", "judge": f"{limits.judge_s} s", "recall": f"{limits.recall_s} s"}
    for kind, method in (("source", "run(deliver)"), ("judge", "judge(message)"), ("recall", "recall(message)")):
        assert f"| {kind} | `add_{kind}` | `{method}` | {times[kind]} |" in PAGE
    assert f"| sink | `add_sink` | `emit(event)` | {limits.emit_s} s |" in PAGE
    assert all(f"| `{state}` |" in PAGE for state in get_args(State))
    assert all(f"`{event.__name__}`" in PAGE for event in get_args(Event))
    for file in ROOT.joinpath("plugins").glob("*/plugin.toml"):
        table = tomllib.loads(file.read_text())
        hooks = "all four" if table["name"] == "_template" else ", ".join(table["hooks"])
        assert f"| `{table['name']}` | {hooks} |" in PAGE
    assert ROOT.joinpath("plugins", "console_echo", "plugin.toml").read_text().strip() in PAGE


def test_a_hook_has_less_time_than_those_who_ask_it_wait():
    assert Limits().judge_s < Settings().sentiment.timeout_s
    assert Limits().recall_s < Settings().memory.recall_timeout_s
