"""Which plugins there are, and whether they fit this program: all that plugin.toml tells. Never imports a plugin."""

import importlib.util
import stat
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal

import structlog
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vtuber_brain.config import shipped, state_dir
from vtuber_brain.plugin_api import API_VERSION

log = structlog.get_logger(__name__)

GROUP = "vtuber_brain.plugins"
OWN_PARTS = frozenset(
    {"bus", "classifier", "engine", "gate", "lora", "panel", "recording", "release"}
    | {"transcripts", "twitch", "voice", "websocket"}
)
Hook = Literal["source", "judge", "recall", "sink"]
State = Literal["off", "on", "failed", "refused"]


class Manifest(BaseModel):
    """plugin.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z_][a-z0-9_]*$", description="as in [plugins.NAME], and the folder's name")
    version: str = Field(description="the plugin's own version")
    api: int = Field(description="the version of vtuber_brain.plugin_api it was written for")
    summary: str = Field(description="one line for people")
    requires: list[str] = Field([], description="packages it needs, as pip names them")
    hooks: list[Hook] = Field(min_length=1, description="what it adds; it may add nothing else")


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """How one plugin is; `detail` is the reason where something is wrong with it, else its summary.

    `refused`: its manifest cannot be read or does not fit, nothing of it was imported. `failed`: it could not be set
    up, or one of its hooks is left alone because it keeps failing.
    """

    name: str
    version: str
    state: State
    detail: str
    hooks: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin that is there; `module` is what to import of an installed one, `fault` what speaks against it."""

    name: str
    folder: Path
    module: str | None = None
    manifest: Manifest | None = None
    fault: str = ""

    def status(self, turned_on: bool) -> PluginStatus:
        """What becomes of it, as far as can be told without importing it."""
        if self.manifest is None:
            return PluginStatus(self.name, "", "refused", self.fault)
        state: State = "off" if not turned_on else "refused" if self.fault else "on"
        detail = self.fault or self.manifest.summary
        return PluginStatus(self.name, self.manifest.version, state, detail, tuple(self.manifest.hooks))


def folders() -> list[Path]:
    """Where plugins are looked for: those that ship, then the operator's own in the state folder."""
    return [shipped("plugins"), state_dir() / "plugins"]


def find(places: Sequence[Path], wanted: Collection[str] = ()) -> list[Found]:
    """Every plugin in these folders and among the installed packages, by name. The first of a name counts.

    One that is `wanted` and not there is among them, with that as its fault.
    """
    found: dict[str, Found] = {}
    for one in [*_in_folders(places), *_installed()]:
        first = found.setdefault(one.name, one)
        if first is not one:
            log.warning("plugin_hidden", plugin=one.name, folder=str(one.folder), by=str(first.folder))
    absent = f"there is no such plugin, neither in {' nor in '.join(map(str, places))} nor installed"
    for name in wanted:
        found.setdefault(name, Found(name, Path(), fault=absent))
    return [found[name] for name in sorted(found)]


def _in_folders(places: Sequence[Path]) -> Iterator[Found]:
    for place in places:
        for file in sorted(place.glob("*/plugin.toml")):
            yield _read(Found(file.parent.name, file.parent))


def _installed() -> Iterator[Found]:
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry.pattern.match(entry.value) is None:
            yield Found(entry.name, Path(), fault=f"its entry point {entry.value!r} names no module")
        else:
            yield _read(Found(entry.name, _folder(entry.module) or Path(entry.module), entry.module))


def _folder(module: str) -> Path | None:
    """Where a module lies. Only its first name is looked up: looking up an inner one would import the outer."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top)
    places = spec.submodule_search_locations if spec else None
    return next((path for place in places or () if (path := Path(place, *inner)).is_dir()), None)


def _read(found: Found) -> Found:
    """The same with its manifest, and with what is wrong with it."""
    try:
        table = tomllib.loads((found.folder / "plugin.toml").read_text(encoding="utf-8"))
        manifest = Manifest.model_validate(table)
        if any(path.stat().st_mode & stat.S_IWOTH for path in (found.folder, *found.folder.rglob("*"))):
            return replace(found, fault=f"anybody may write into it: chmod -R go-w {found.folder}")
    except OSError as error:
        return replace(found, fault=f"plugin.toml: {error.strerror}")
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        return replace(found, fault=f"plugin.toml: {'; '.join(wrong)}")
    except (ValueError, RecursionError) as error:  # neither UTF-8 nor TOML, or TOML too deep to read
        return replace(found, fault=f"plugin.toml: {error}")
    return replace(found, manifest=manifest, fault="; ".join(_faults(found.name, manifest)))


def _faults(name: str, manifest: Manifest) -> Iterator[str]:
    if name in OWN_PARTS:
        yield f"a part of the daemon is called {name}, and its health is kept under that name: take another"
    if manifest.name != name:
        yield f"plugin.toml names it {manifest.name}, and it is found as {name}"
    if manifest.api != API_VERSION:
        yield f"it was written for api {manifest.api}, and this is {API_VERSION}"
    for text in manifest.requires:
        try:
            wanted = Requirement(text)
            version = metadata.version(wanted.name)
        except InvalidRequirement:
            yield f"requires: {text!r} is no requirement as pip knows them"
        except metadata.PackageNotFoundError:
            yield f"it needs {text}, which is not installed: pip install '{text}'"
        else:
            if not wanted.specifier.contains(version, prereleases=True):
                yield f"it needs {text}, and {version} is installed"
