"""A plugin's settings at a reload: handed over where it can take them, named where it cannot."""

import pytest

from tests.support.plugins import plant
from vtuber_brain.plugins import Plugins
from vtuber_brain.runtime.guard import Limits
from vtuber_brain.runtime.metrics import Metrics

CODE = """
import asyncio

class One:
    name = "one"
    settings = None
    async def emit(self, event): pass

async def setup(registry, settings):
    One.settings = settings
    registry.add_sink(One())

{reload}
"""
TAKES = "async def reload(settings):\n    One.settings = settings\n"
QUICK = Limits(setup_s=0.2, grace_s=0.05)


async def loaded(place, reload, turned_on):
    plant(place, "good", code=CODE.format(reload=reload))
    plugins = await Plugins.load(turned_on, Metrics(), places=[place], limits=QUICK)
    assert [status.state for status in plugins.set_up if status.name == "good"] in (["on"], ["off"])
    return plugins


async def test_one_that_can_takes_over_what_has_changed(tmp_path):
    plugins = await loaded(tmp_path, TAKES, {"good": {"colour": "red"}})
    assert await plugins.reload({"good": {"colour": "blue"}}) == []
    assert plugins.sinks[0]._inner.settings == {"colour": "blue"}
    assert await plugins.reload({"good": {"colour": "blue"}}) == []


@pytest.mark.parametrize(
    "reload",
    [
        "",
        "def reload(settings): One.settings = settings",
        "async def reload(settings): raise ValueError('no such colour')",
        "async def reload(settings): await asyncio.sleep(600)",
        "async def reload(settings): raise SystemExit(1)",
        "async def reload(): pass",
    ],
)
async def test_one_that_cannot_or_fails_or_hangs_is_named_every_time_until_it_fits(reload, tmp_path):
    plugins = await loaded(tmp_path, reload, {"good": {"colour": "red"}})
    assert await plugins.reload({"good": {"colour": "blue"}}) == ["good"]
    assert await plugins.reload({"good": {"colour": "blue"}}) == ["good"]
    assert await plugins.reload({"good": {"colour": "red"}}) == []


async def test_one_that_is_turned_on_or_off_waits_for_a_restart(tmp_path):
    plugins = await loaded(tmp_path, TAKES, {"good": {}})
    assert await plugins.reload({}) == ["good"]
    assert sorted(await plugins.reload({"good": {}, "other": {}})) == ["other"]
