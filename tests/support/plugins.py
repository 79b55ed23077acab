"""Plugins planted for tests: in a folder, and as pip would install them."""

from pathlib import Path

import pytest

from vtuber_brain.plugin_api import API_VERSION

GOOD = {"version": '"1.2"', "api": str(API_VERSION), "summary": '"Does good."', "hooks": '["sink"]'}
BOOBY_TRAP = "raise RuntimeError('imported')\n"


def plant(place: Path, name: str, /, *, code: str = BOOBY_TRAP, **changes: str | None) -> Path:
    """A plugin's folder; a change of None leaves a key of plugin.toml out."""
    table = {"name": f'"{name}"', **GOOD, **changes}
    folder = place / name
    folder.mkdir(parents=True)
    lines = [f"{key} = {value}" for key, value in table.items() if value is not None]
    folder.joinpath("plugin.toml").write_text("\n".join(lines) + "\n")
    folder.joinpath("__init__.py").write_text(code)
    return folder


def install(place: Path, module: str, entry: str, monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> Path:
    """What pip leaves of a package whose entry point names a plugin."""
    folder = plant(place, entry, **changes).rename(place / module.split(".")[-1])
    for outer in reversed(module.split(".")[:-1]):
        (place / outer).mkdir()
        (place / outer / "__init__.py").write_text(BOOBY_TRAP)
        folder = folder.rename(place / outer / folder.name)
    about = place / f"{entry}-1.0.dist-info"
    about.mkdir()
    about.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {entry}\nVersion: 1.0\n")
    about.joinpath("entry_points.txt").write_text(f"[vtuber_brain.plugins]\n{entry} = {module}\n")
    monkeypatch.syspath_prepend(str(place))
    return folder
