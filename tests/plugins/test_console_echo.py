"""The example plugin, started as the daemon starts it."""

import pytest

from tests.support.bus import turn, utterance
from vtuber_brain.config import shipped
from vtuber_brain.messages import Cue
from vtuber_brain.plugins import Plugins
from vtuber_brain.runtime.metrics import Metrics


async def test_the_shipped_example_prints_what_she_says(capsys):
    settings = {"console_echo": {"prefix": "Mori: "}}
    plugins = await Plugins.start(settings, Metrics(), places=[shipped("plugins")])
    (status,) = [one for one in plugins.statuses if one.name == "console_echo"]
    assert (status.state, status.hooks) == ("on", ("sink",))
    capsys.readouterr()
    (echo,) = plugins.sinks
    await echo.emit(utterance(0, cue=Cue("smile")))
    await echo.emit(utterance(1, text="Halo!\x1b[2J\nDunia 🌸"))
    await echo.emit(turn())
    assert capsys.readouterr().out == "Mori: [smile] Sentence 0.\nMori: Halo! [2J Dunia 🌸\n"


@pytest.mark.parametrize("settings", [{"prefix": 3}, {"cues": "no"}, {"colour": "red"}])
async def test_the_shipped_example_refuses_settings_it_does_not_know(settings):
    plugins = await Plugins.start({"console_echo": settings}, Metrics(), places=[shipped("plugins")])
    (status,) = [one for one in plugins.statuses if one.name == "console_echo"]
    assert status.state == "failed"
