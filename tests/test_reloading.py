"""What a reload does not reach is named: by section, of the filter by key, plugins by name."""

from types import SimpleNamespace

from vtuber_brain.config import Settings
from vtuber_brain.reloading import _AT_START, needs_restart
from vtuber_brain.sections import SentimentSettings


def plan(name="mori", **sections):
    return SimpleNamespace(settings=Settings(**sections), persona=SimpleNamespace(name=name))


def test_nothing_is_named_where_nothing_or_only_what_is_reached_has_changed():
    reached = {
        "sentiment": {"toxic_threshold": 0.5, "blocklist": "x"},
        "persona": {"dir": "/p"},
        "plugins": {"one": {}},
    }
    assert needs_restart(plan(), plan(), []) == []
    assert needs_restart(plan(), plan(**reached), []) == []


def test_sections_keys_of_the_filter_and_plugins_are_named():
    new = plan(
        name="nori",
        persona={"name": "nori"},
        engine={"num_slots": 2},
        sentiment={"model": "other", "threads": 3, "max_links": 4},
    )
    assert needs_restart(plan(), new, ["greeter"]) == [
        "engine",
        "persona",
        "plugins.greeter",
        "sentiment.model",
        "sentiment.threads",
    ]


def test_every_key_that_is_told_to_need_a_restart_is_one_of_the_filters():
    assert set(SentimentSettings.model_fields) >= _AT_START
