"""A release that waits for a person's word: approved it is current, refused it never is, and both are remembered."""

import pytest

from tests.releases.makers import SERVED, manifest, weights
from vtuber_brain.errors import ConfigError, Refused
from vtuber_brain.releases.manifest import Verdict
from vtuber_brain.releases.publish import publish
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.releases.waiting import approve, refuse, waiting


@pytest.fixture
def store(tmp_path):
    return ReleaseStore(tmp_path / "personas")


@pytest.fixture
def held(store, tmp_path):
    def publish_one(number, outcome="held"):
        folder = weights(tmp_path / f"out-{number}", number)
        told = manifest(folder, day=number, gate=Verdict(outcome=outcome, by="retrain.gate.hold"))
        return publish(store, folder, told, SERVED, promote=outcome != "held")

    return publish_one


def test_what_waits_is_whole_and_not_current_until_somebody_approves(store, held):
    before, waits = held(0, "passed"), held(1)
    assert waiting(store, "mori") == [waits]
    assert store.current("mori") == before
    assert approve(store, "mori", None, "rani", "she sounds well") == waits
    assert store.current("mori") == waits
    assert waiting(store, "mori") == []
    mark = store.ledger("mori").approved[waits.name]
    assert (mark.by, mark.reason) == ("rani", "she sounds well")
    assert store.previous("mori") == before


def test_what_was_refused_is_never_current_and_neither_are_the_same_weights(store, held, tmp_path):
    waits = held(1)
    refuse(store, "mori", waits.name, "rani", "too loud")
    assert waiting(store, "mori") == []
    with pytest.raises(ConfigError, match="refused: too loud"):
        store.make_current(waits)
    with pytest.raises(ConfigError, match="no release waits"):
        approve(store, "mori", None, "rani")
    with pytest.raises(Refused, match="never current again"):
        publish(store, tmp_path / "out-1", manifest(tmp_path / "out-1", day=9), SERVED)


def test_of_the_same_weights_held_twice_refusing_one_refuses_both(store, tmp_path):
    folder = weights(tmp_path / "out", 1)
    twins = [
        publish(store, folder, manifest(folder, day=day, gate=Verdict(outcome="held")), SERVED, promote=False)
        for day in (1, 2)
    ]
    refuse(store, "mori", twins[0].name, "rani")
    assert waiting(store, "mori") == []
    with pytest.raises(ConfigError, match="does not wait"):
        approve(store, "mori", twins[1].name, "rani")
    with pytest.raises(ConfigError, match=f"the same weights were, as {twins[0].name}, rolled back by rani"):
        store.make_current(twins[1])


def test_the_newest_is_meant_unless_one_is_named(store, held):
    first, second = held(1), held(2)
    assert refuse(store, "mori", None, "rani") == second
    assert approve(store, "mori", first.name, "rani") == first


def test_one_that_does_not_wait_is_named_with_those_that_do(store, held):
    passed, waits = held(0, "passed"), held(1)
    with pytest.raises(ConfigError, match=f"{passed.name} does not wait.*There wait: {waits.name}"):
        approve(store, "mori", passed.name, "rani")
    with pytest.raises(ConfigError, match="no such release"):
        refuse(store, "mori", "never", "rani")


def test_an_approval_that_was_killed_before_the_pointer_moved_is_ended_by_the_next(store, held, monkeypatch):
    waits = held(1)
    monkeypatch.setattr(ReleaseStore, "make_current", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        approve(store, "mori", waits.name, "rani")
    monkeypatch.undo()
    assert store.current("mori") is None
    assert approve(store, "mori", waits.name, "rani") == waits
    assert store.current("mori") == waits


def test_a_damaged_one_is_not_approved(store, held):
    waits = held(1)
    (waits.path / "adapter_config.json").write_text("{}")
    with pytest.raises(Refused, match="not those that were published"):
        approve(store, "mori", None, "rani")
    assert store.current("mori") is None
