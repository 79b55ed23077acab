"""What every test gets: the bundled models, small models on one thread, and no state but its own."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from vtuber_brain import models

settings.register_profile("busy-machine", deadline=None)
settings.load_profile("busy-machine")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models run fastest on one; two test processes share the cores


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Transcripts and tokens of a test live in its own folder; nobody's environment reaches the settings."""
    for name in [name for name in os.environ if name.startswith("VTB_") and name != "VTB_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VTB_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def bundled_model() -> Path:
    """The folder of the bundled causal LM (make setup has fetched it)."""
    return Path(models.resolve("bundled:smollm2-135m-instruct"))
