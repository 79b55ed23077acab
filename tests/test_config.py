"""Settings: where they come from and which wins, every problem in one report, and no secret in any of it."""

import os
import re
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support import settings_doc
from vtuber_brain import config
from vtuber_brain.config import Settings, cache_dir, load, shipped, state_dir
from vtuber_brain.errors import ConfigError, Problem

SECRET = "hunter2-s3cret"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch) -> None:
    for name in os.environ:
        if name.upper().startswith("VTB_") or name in {"CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"}:
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path):
    """Writes a settings file."""

    def write(text: str) -> Path:
        file = tmp_path / "brain.toml"
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        return file

    return write


@pytest.fixture
def credentials(tmp_path, monkeypatch) -> Path:
    """A folder of credentials as systemd makes it."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def problems(path: Path | None) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.problems


class TestSources:
    def test_without_a_file_the_defaults_hold(self):
        assert load(None) == Settings()

    def test_the_environment_wins_over_the_file_key_by_key(self, toml, monkeypatch):
        file = toml('[websocket]\nport = 1\nhost = "127.0.0.2"\n[bus]\nport = 2\n')
        monkeypatch.setenv("VTB_WEBSOCKET__PORT", "3")
        settings = load(file)
        assert (settings.websocket.port, settings.websocket.host, settings.bus.port) == (3, "127.0.0.2", 2)

    def test_credentials_win_over_the_environment(self, toml, monkeypatch, credentials):
        file = toml('[websocket]\ntoken = "of the file"\n[bus]\npassword = "of the file"\n')
        monkeypatch.setenv("VTB_WEBSOCKET__TOKEN", "of the environment")
        (credentials / "websocket__token").write_text("of the credentials\n")
        settings = load(file)
        assert settings.websocket.token == SecretStr("of the credentials")
        assert settings.bus.password == SecretStr("of the file")

    def test_lists_and_tables_are_json_in_the_environment(self, monkeypatch):
        monkeypatch.setenv("VTB_WEBSOCKET__ORIGINS", '["https://panel.example"]')
        monkeypatch.setenv("VTB_SENTIMENT__LABELS", '{"LABEL_0": "negative"}')
        settings = load(None)
        assert settings.websocket.origins == ["https://panel.example"]
        assert settings.sentiment.labels == {"LABEL_0": "negative"}

    def test_plugins_take_any_key_from_file_and_environment(self, toml, monkeypatch):
        monkeypatch.setenv("VTB_PLUGINS__ECHO__VOLUME", "3")
        assert load(toml('[plugins.echo]\nword = "hi"\n')).plugins == {"echo": {"word": "hi", "volume": "3"}}

    def test_settings_cannot_be_changed_afterwards(self):
        with pytest.raises(ValueError, match="frozen"):
            load(None).websocket.port = 1  # type: ignore[misc]


class TestProblems:
    def test_all_of_them_come_in_one_report(self, toml, monkeypatch):
        file = toml(
            '[websocket]\nport = 99999\nhots = "x"\n[nope]\na = 1\n[engine]\nnum_slots = 0\ncontext = "many"\n'
            '[logs]\nlevel = "loud"\n[plugins]\necho = 1\n'
        )
        monkeypatch.setenv("VTB_CHAT__CAPACITY", "zero")
        monkeypatch.setenv("VTB_WEBSOCKT__PORT", "1")
        found = problems(file)
        assert {problem.where.removeprefix(f"{file}: ") for problem in found} == {
            "websocket.port",
            "websocket.hots",
            "nope",
            "engine.num_slots",
            "engine.context",
            "logs.level",
            "plugins.echo",
            "chat.capacity (from VTB_CHAT__CAPACITY)",
            "environment: VTB_WEBSOCKT__PORT",
        }
        assert all(problem.what and problem.fix for problem in found)
        assert str(ConfigError(found)).count("\n") == len(found) - 1

    def test_an_unknown_key_is_refused_by_name(self, toml):
        (problem,) = problems(toml("[websocket]\nprot = 1\n"))
        assert problem.where.endswith("brain.toml: websocket.prot")
        assert problem.what == "unknown setting"

    @pytest.mark.parametrize("key", ["_env_prefix", "_cli_parse_args", "_secrets_dir"])
    def test_what_would_steer_the_reading_of_settings_is_no_setting(self, key, toml, monkeypatch):
        monkeypatch.setenv("VTB_WEBSOCKET__PORT", "1234")
        (problem,) = problems(toml(f'{key} = "X_"\n'))
        assert problem.where.endswith(f"brain.toml: {key}")

    @pytest.mark.parametrize("name", ["VTB_WEBSOCKT__PORT", "VTB_WEBSOCKET_PORT", "VTB_PORT", "VTB_", "VTB_STATE_DIRR"])
    def test_a_mistyped_variable_is_refused_by_name(self, name, monkeypatch):
        monkeypatch.setenv(name, SECRET)
        (problem,) = problems(None)
        assert problem.where == f"environment: {name}"

    def test_a_mistyped_key_of_a_variable_is_refused_by_name(self, monkeypatch):
        monkeypatch.setenv("VTB_WEBSOCKET__PROT", "1")
        (problem,) = problems(None)
        assert problem.where == "settings: websocket.prot (from VTB_WEBSOCKET__PROT)"

    def test_the_folders_are_no_settings_and_no_mistakes(self, monkeypatch, tmp_path):
        monkeypatch.setenv("VTB_STATE_DIR", str(tmp_path))
        monkeypatch.setenv("VTB_CACHE", str(tmp_path))
        assert load(None) == Settings()

    @pytest.mark.parametrize(
        "name", ["VTB_WEBSOCKET__ORIGINS", "VTB_SENTIMENT__LABELS", "VTB_WEBSOCKET", "VTB_PLUGINS", "VTB_CHAT"]
    )
    def test_a_list_or_table_that_is_not_json_is_named(self, name, monkeypatch):
        monkeypatch.setenv(name, SECRET)
        monkeypatch.setenv("VTB_NONSENSE", "1")
        found = problems(None)
        assert [problem.where for problem in found] == [f"environment: {name}", "environment: VTB_NONSENSE"]
        assert SECRET not in str(found)

    def test_a_mistyped_credential_is_refused_by_name(self, credentials):
        for name in ("websocket__tokn", "websockt__token"):
            (credentials / name).write_text(SECRET)
        assert len(problems(None)) == 2
        assert all(name in str(problems(None)) for name in ("websocket.tokn", "websockt__token"))

    def test_a_credential_for_somebody_else_is_left_alone(self, credentials):
        (credentials / "certificate.pem").write_text("not ours")
        assert load(None) == Settings()

    def test_a_credentials_folder_that_is_missing_is_named(self, monkeypatch):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/no/such/folder")
        (problem,) = problems(None)
        assert "/no/such/folder" in problem.where

    def test_a_missing_file_is_named(self, tmp_path):
        (problem,) = problems(tmp_path / "none.toml")
        assert problem.where == str(tmp_path / "none.toml")
        assert problem.what == "No such file or directory"
        assert "--config" in problem.fix

    def test_a_byte_order_mark_is_no_mistake(self, toml):
        path = toml("[websocket]\nport = 1234\n")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert load(path).websocket.port == 1234

    def test_a_folder_is_no_file(self, tmp_path):
        (problem,) = problems(tmp_path)
        assert problem.what == "Is a directory"

    @pytest.mark.parametrize("text", ["[websocket\nport = 1", "websocket.port\n", f"[websocket]\ntoken = {SECRET}\n"])
    def test_what_is_not_toml_is_named_with_its_place(self, text, toml):
        (problem,) = problems(toml(text))
        assert problem.what.startswith("not TOML")
        assert "line" in problem.what

    def test_bytes_that_are_no_text_are_not_toml(self, toml):
        file = toml("")
        file.write_bytes(b"\xff\xfe[websocket]")
        (problem,) = problems(file)
        assert problem.what.startswith("not TOML")

    @pytest.mark.parametrize("text", ["websocket = 1", "[[websocket]]\nport = 1", "plugins = []"])
    def test_a_section_that_is_no_table_is_named(self, text, toml):
        (problem,) = problems(toml(text))
        assert problem.where.endswith((": websocket", ": plugins"))

    @pytest.mark.parametrize("key", ["messages_per_s", "burst"])
    @pytest.mark.parametrize("value", ["0", "-1", "nan", '"x"', "[]"])
    def test_a_number_that_makes_no_sense_is_refused(self, key, value, toml):
        (problem,) = problems(toml(f"[websocket]\n{key} = {value}\n"))
        assert problem.where.endswith(f"websocket.{key}")


class TestContradictions:
    def test_the_panel_knows_where_the_voices_page_is(self, toml):
        (problem,) = problems(toml("[control]\npanel = true\n[voice]\nport = 0\n"))
        assert problem.where == "voice.port"

    def test_slow_comes_before_dead(self, toml):
        (problem,) = problems(toml("[engine]\nslow_s = 20\n"))
        assert problem.where == "engine.slow_s"


class TestSecrets:
    def test_neither_text_nor_repr_nor_json_of_settings_shows_one(self, toml):
        settings = load(toml(f'[websocket]\ntoken = "{SECRET}"\n[bus]\npassword = "{SECRET}"\n'))
        assert settings.websocket.token == SecretStr(SECRET)
        for shown in (
            repr(settings),
            str(settings),
            settings.model_dump_json(),
            f"{settings.bus}",
            str(settings.model_dump()),
        ):
            assert SECRET not in shown

    @pytest.mark.parametrize(
        "text",
        [
            f'[websocket]\ntoken = ["{SECRET}"]',
            f'[websocket]\ntoken = {{ a = "{SECRET}" }}',
            f'[websocket]\nport = "{SECRET}"',
            f'[websocket]\ntokn = "{SECRET}"',
            f'[bus]\nbroker = "{SECRET}"\nprefix = "{SECRET}/x"',
            f'[wrong]\ntoken = "{SECRET}"',
            f'[websocket]\ntoken = "{SECRET}',
            f"[websocket]\ntoken = {SECRET}",
        ],
    )
    def test_no_error_repeats_a_value_not_even_in_its_traceback(self, text, toml):
        with pytest.raises(ConfigError) as caught:
            load(toml(text))
        shown = [str(caught.value), repr(caught.value), repr(caught.value.problems)]
        shown += traceback.format_exception(caught.value)
        assert SECRET not in "".join(shown)

    @pytest.mark.parametrize("name", ["VTB_WEBSOCKET__PORT", "VTB_WEBSOCKET__TOKEN__X", "VTB_BUS__PORT"])
    def test_no_error_repeats_a_value_of_the_environment(self, name, monkeypatch):
        monkeypatch.setenv(name, SECRET)
        assert SECRET not in str(problems(None))

    def test_no_error_repeats_a_credential(self, credentials):
        (credentials / "websocket__port").write_text(SECRET)
        assert SECRET not in str(problems(None))

    @pytest.mark.parametrize("text", [f'[websocket]\ntoken = "{SECRET}"', f'[plugins.one]\nchat_token = "{SECRET}"'])
    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
    def test_one_in_a_file_that_others_may_read_is_refused_with_what_helps(self, text, mode, toml):
        file = toml(text)
        load(file)
        file.chmod(mode)
        (problem,) = problems(file)
        assert "chmod 600" in problem.fix
        assert "VTB_" in problem.fix
        assert SECRET not in str(problem)

    def test_an_empty_one_is_none(self, toml):
        file = toml('[websocket]\ntoken = ""\n')
        file.chmod(0o644)
        load(file)

    def test_those_of_plugins_are_told_to_the_logs_too(self, toml):
        assert config.secrets(load(toml(f'[plugins.one]\napi_key = "{SECRET}"\ncolour = "red"\n'))) == [SECRET]

    def test_the_logs_are_told_every_secret_there_is(self, toml):
        settings = load(toml(f'[websocket]\ntoken = "{SECRET}"\n[bus]\npassword = "other"\n'))
        assert sorted(config.secrets(settings)) == [SECRET, "other"]
        assert config.secrets(Settings()) == []


class TestFolders:
    def test_state_lives_where_told_else_where_systemd_says_else_in_the_users_folder(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/ann")
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        assert state_dir() == Path("/home/ann/.local/state/vtuber-brain")
        monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
        assert state_dir() == Path("/xdg/vtuber-brain")
        monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two")
        assert state_dir() == Path("/var/lib/one")
        monkeypatch.setenv("VTB_STATE_DIR", "/own")
        assert state_dir() == Path("/own")

    def test_models_live_where_told_else_in_the_users_cache(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/ann")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert cache_dir() == Path("/home/ann/.cache/vtuber-brain")
        monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
        assert cache_dir() == Path("/xdg/vtuber-brain")
        monkeypatch.setenv("VTB_CACHE", "/own")
        assert cache_dir() == Path("/own")

    def test_what_ships_is_found_in_the_checkout(self):
        assert shipped("configs", "demo.toml").is_file()
        assert shipped("systemd").is_dir()


class TestFiles:
    def test_brain_toml_lists_every_key_with_its_default(self):
        assert settings_doc.BRAIN_TOML.read_text() == settings_doc.brain_toml(), settings_doc.__doc__
        assert load(settings_doc.BRAIN_TOML) == Settings()

    def test_what_brain_toml_leaves_commented_out_can_be_switched_on(self, toml):
        text = settings_doc.brain_toml().replace('= "..."', '= "x"')
        text = re.sub(r"# (\w+_token) = \"x\"", r'# \1 = "x of \1"', text)  # each role's is its own
        settings = load(
            toml("\n".join(line.removeprefix("# ") if '= "x' in line else line for line in text.splitlines()))
        )
        assert settings.bus.password == SecretStr("x")
        assert settings.transcripts.path == Path("x")

    def test_the_settings_page_is_current_and_names_every_key(self):
        page = settings_doc.SETTINGS_MD.read_text()
        assert page == settings_doc.settings_md(), settings_doc.__doc__
        for name, section in settings_doc.sections():
            described = page.split(f"## [{name}]")[1].split("##")[0]
            assert all(f"| `{key}` |" in described for key in settings_doc.keys(section))

    def test_every_setting_says_what_it_means(self):
        for name, section in settings_doc.sections():
            assert section.__doc__.startswith(f"`[{name}]` ")
            fields = settings_doc.keys(section).values()
            assert all(field.description and "|" not in field.description for field in fields)

    def test_the_demo_needs_nothing_else_and_stays_on_this_machine(self):
        demo = load(shipped("configs", "demo.toml"))
        assert demo.bus.broker == "embedded"
        assert {demo.bus.host, demo.websocket.host} == {"127.0.0.1"}
        assert (demo.websocket.port, demo.bus.port) == (8766, 1883)
