"""Plugins that do wrong in every way, and the daemon that does not mind."""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus import message, utterance
from tests.support.plugins import install, plant
from vtuber_brain.errors import JudgeDown, Refused, Unavailable
from vtuber_brain.plugins import Limits, Plugins
from vtuber_brain.runtime.metrics import Metrics

ROOT = Path(__file__).parents[1]
QUICK = Limits(setup_s=0.2, call_s=0.05, max_failures=3, rest_s=0.2)
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


def failures(metrics: Metrics, plugin: str) -> float:
    return metrics.errors.labels(f"plugin_{plugin}")._value.get()


async def test_what_is_on_is_set_up_with_its_settings_and_what_is_off_is_not_imported(tmp_path):
    plant(tmp_path, "good", code=sink())
    plant(tmp_path, "idle")
    plugins = await start(tmp_path, "good", volume=3)
    assert [(one.name, one.state) for one in plugins.statuses] == [("good", "on"), ("idle", "off")]
    (there,) = plugins.sinks
    assert there.name == "one"
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
        plant(tmp_path, name, code=code.replace("name = '", f"name = '{name}-"), hooks=all_hooks)
    plugins = await start(tmp_path, "alpha", "beta")
    for kind in ("source", "judge", "recall", "sink"):
        assert [one.name for one in getattr(plugins, f"{kind}s")] == [f"alpha-{kind}", f"beta-{kind}"]


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
        (sink(setup="await asyncio.Event().wait()"), "no answer within 0.2 s"),
        (sink(setup="registry.add_judge(One(settings))"), "a judge, which its plugin.toml does not name"),
        (sink(setup="registry.add_sink(object())"), "needs a `name` and an `async def emit`"),
        (sink(setup="One.emit = lambda self, event: None"), "needs a `name` and an `async def emit`"),
        (sink(setup="registry.add_sink(One(settings)); raise OSError('late')"), "OSError: late"),
    ],
)
async def test_what_fails_to_start_is_broken_with_a_reason_leaves_nothing_and_stops_nobody(tmp_path, code, told):
    plant(tmp_path, "bad", code=code)
    plant(tmp_path, "good", code=sink())
    plugins = await start(tmp_path, "bad", "good")
    assert [(one.name, one.state) for one in plugins.statuses] == [("bad", "broken"), ("good", "on")]
    assert told in plugins.statuses[0].detail
    assert len(plugins.sinks) == 1


async def test_half_an_import_is_forgotten_so_that_a_mended_plugin_starts(tmp_path):
    code = plant(tmp_path, "good", code="raise ImportError('not yet')").joinpath("__init__.py")
    assert (await start(tmp_path, "good")).statuses[0].state == "broken"
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
    body = "await given('a message'); await asyncio.wait_for(asyncio.Event().wait(), 0.15)"
    plant(tmp_path, "good", **hook("source", "run", body))
    (source,) = (await start(tmp_path, "good")).sources
    delivered = []

    async def deliver(one) -> None:
        delivered.append(one)

    with pytest.raises(Unavailable, match="TimeoutError"):
        await source.run(deliver)
    assert delivered == ["a message"]


async def test_our_own_cancellation_goes_through_a_call(tmp_path):
    plant(tmp_path, "good", **hook("source", "run", "await asyncio.Event().wait()"))
    (source,) = (await start(tmp_path, "good")).sources
    running = asyncio.create_task(source.run(lambda _: asyncio.Event().wait()))
    await asyncio.wait({running}, timeout=0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_the_document_tells_the_limits_and_every_hook():
    text = ROOT.joinpath("docs", "plugins.md").read_text()
    limits = Limits()
    for told in (f"{limits.setup_s} s", f"{limits.call_s} s", f"{limits.max_failures} failures", f"{limits.rest_s} s"):
        assert told in text
    for method in ("run(deliver)", "judge(message)", "recall(message)", "emit(event)"):
        assert method in text
    assert ROOT.joinpath("plugins", "console_echo", "plugin.toml").read_text().strip() in text
