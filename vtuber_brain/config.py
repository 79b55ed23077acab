"""Every setting, with its default, unit and meaning; loaded from TOML, then environment, then credentials.

`load` reports every problem in one pass and never prints a value. Nothing here is read at import.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from vtuber_brain import environment
from vtuber_brain.control_sections import ControlSettings
from vtuber_brain.environment import ENV_DELIMITER, ENV_PREFIX
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.night_sections import RetrainSettings
from vtuber_brain.sections import (
    TWITCH_KEEPALIVE_S,
    BusSettings,
    ChatSettings,
    ChoiceSettings,
    EngineSettings,
    LogSettings,
    MemorySettings,
    ModelSettings,
    PersonaSettings,
    RemoteSettings,
    Section,
    SentimentSettings,
    SpeechSettings,
    TranscriptsSettings,
    TwitchSettings,
    WebSocketSettings,
)
from vtuber_brain.voice_sections import BUILT_IN, VoiceSettings

_UNKNOWN = "unknown setting", "Remove it, or look for its right name in docs/settings.md"

_SECRET = re.compile(r"(^|_)token$|secret|password|api_key", re.IGNORECASE)
"""The keys of plugins' settings whose values are kept secret."""


class Settings(BaseSettings):
    """Every section. Build it with `load`, which also finds what pydantic cannot see."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    persona: PersonaSettings = PersonaSettings()
    chat: ChatSettings = ChatSettings()
    choice: ChoiceSettings = ChoiceSettings()
    websocket: WebSocketSettings = WebSocketSettings()
    twitch: TwitchSettings = TwitchSettings()
    bus: BusSettings = BusSettings()
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    remote: RemoteSettings = RemoteSettings()
    sentiment: SentimentSettings = SentimentSettings()
    memory: MemorySettings = MemorySettings()
    speech: SpeechSettings = SpeechSettings()
    transcripts: TranscriptsSettings = TranscriptsSettings()
    retrain: RetrainSettings = RetrainSettings()
    control: ControlSettings = ControlSettings()
    voice: VoiceSettings = VoiceSettings()
    logs: LogSettings = LogSettings()
    plugins: dict[str, dict[str, Any]] = Field({}, description="[plugins.NAME] turns the plugin NAME on")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings names the parameters
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Credentials win over the environment, which wins over the file (given as init arguments)."""
        return *environment.credentials(file_secret_settings), env_settings, init_settings


def load(path: Path | None) -> Settings:
    """Settings from `path` (TOML; None: defaults), environment, credentials. Raises ConfigError with every problem."""
    table, problems = _read(path)
    problems += environment.problems(Settings)
    problems += _open_secrets(path, table)
    problems += [Problem(f"{path}: {key}", *_UNKNOWN) for key in table if key.startswith("_")]
    settings: Settings | None = None
    try:  # what begins with "_" would steer pydantic-settings itself
        settings = Settings(**{key: value for key, value in table.items() if not key.startswith("_")})
    except ValidationError as error:
        problems += [_problem(path, dict(item)) for item in error.errors(include_input=False, include_url=False)]
    except SettingsError:
        assert problems, "environment.problems has named the variable"
    if settings is not None:
        problems += _contradictions(settings)
    if problems or settings is None:
        raise ConfigError(problems)
    return settings


def state_dir() -> Path:
    """Where transcripts and releases live: VTB_STATE_DIR, else systemd's STATE_DIRECTORY, else the XDG state folder."""
    for name in ("VTB_STATE_DIR", "STATE_DIRECTORY"):
        if value := os.environ.get(name):
            return Path(value.split(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "vtuber-brain"


def cache_dir() -> Path:
    """Where models live: VTB_CACHE, else the XDG cache folder."""
    if value := os.environ.get("VTB_CACHE"):
        return Path(value)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vtuber-brain"


def shipped(*parts: str) -> Path:
    """A file of configs/, plugins/ or systemd/: of the checkout we run from, else of the installed package."""
    package = Path(__file__).parent
    checkout = package.parent.joinpath(*parts)
    return checkout if (package.parent / "pyproject.toml").exists() else package.joinpath("share", *parts)


def _read(path: Path | None) -> tuple[dict[str, Any], list[Problem]]:
    if path is None:
        return {}, []
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig")), []
    except OSError as error:
        return {}, [
            Problem(str(path), error.strerror or "cannot be read", "Give the path of a TOML file with --config")
        ]
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number of no end, or brackets of no end
        return {}, [Problem(str(path), f"not TOML: {error}", "Mend the file at the place named")]


def _problem(path: Path | None, item: Mapping[str, Any]) -> Problem:
    key = ".".join(str(part) for part in item["loc"])
    variable = ENV_PREFIX + key.upper().replace(".", ENV_DELIMITER)
    where = f"{path or 'settings'}: {key}" + (f" (from {variable})" if variable in os.environ else "")
    if item["type"] == "extra_forbidden":
        return Problem(where, *_UNKNOWN)
    return Problem(where, item["msg"], "Its meaning and default are in docs/settings.md")


def _open_secrets(path: Path | None, table: Mapping[str, Any]) -> Iterator[Problem]:
    """Secrets written into a file that is not its owner's alone."""
    if path is None or not (found := [f"{section}.{key}" for section, key in _secrets_in(table)]):
        return
    status = path.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        for key in found:
            name = ENV_PREFIX + key.upper().replace(".", ENV_DELIMITER)
            fix = (
                f"Take it out and give it as {name} or as a credential, or make the file yours alone: chmod 600 {path}"
            )
            yield Problem(f"{path}: {key}", "a secret in a file that others may read", fix)


def _secrets_in(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, section in table.items():
        fields = (
            getattr(Settings.model_fields[name].annotation, "model_fields", {}) if name in Settings.model_fields else {}
        )
        for key, value in section.items() if isinstance(section, Mapping) else ():
            if value and key in fields and fields[key].annotation == SecretStr | None:
                yield name, key
            elif name == "plugins" and isinstance(value, Mapping):
                yield from ((f"plugins.{key}", inner) for inner in value if value[inner] and _SECRET.search(inner))


def _contradictions(settings: Settings) -> Iterator[Problem]:
    yield from _twitch_contradictions(settings.twitch)
    yield from _control_contradictions(settings.control)
    yield from _voice_contradictions(settings.voice)
    if settings.control.panel and not settings.voice.port:
        fix = "Give it a number: the panel leads to the voice's page by it"
        yield Problem("voice.port", "0, a free one that nobody knows before, and control.panel is on", fix)
    engine = settings.engine
    if engine.slow_s >= engine.dead_s:
        yield Problem("engine.slow_s", "not less than engine.dead_s", "Make slow_s the smaller of the two")
    remote = settings.remote
    for number, url in enumerate(remote.urls, 1):
        if not url.startswith(("http://", "https://")):
            yield Problem(
                "remote.urls", f"number {number} is no http or https URL", "Write it like http://HOST:8000/v1"
            )
    if engine.kind == "openai" and not remote.urls:
        yield Problem("remote.urls", "engine.kind is openai, and no server is named", "Give at least one base URL")
    if engine.kind == "openai" and not remote.model:
        yield Problem("remote.model", "engine.kind is openai, and no model is named", "Give the name the servers use")


def _twitch_contradictions(twitch: TwitchSettings) -> Iterator[Problem]:
    if twitch.enabled and not twitch.channel:
        yield Problem("twitch.channel", "twitch is enabled, and no channel is named", "Give NAME of twitch.tv/NAME")
    if twitch.enabled and not twitch.client_id:
        fix = "Register an application (docs/twitch.md says how) and give its client id"
        yield Problem("twitch.client_id", "twitch is enabled, and no application is named", fix)
    if twitch.silence_s <= TWITCH_KEEPALIVE_S:
        fix = f"Twitch lets up to {TWITCH_KEEPALIVE_S} s pass between two signs of life: make it longer than that"
        yield Problem("twitch.silence_s", "too short", fix)


def _control_contradictions(control: ControlSettings) -> Iterator[Problem]:
    names = ("viewer_token", "moderator_token", "owner_token")
    given = {name: secret.get_secret_value() for name in names if (secret := getattr(control, name)) is not None}
    if len(set(given.values())) < len(given):
        yield Problem("control.owner_token", "two roles share one token", "Give each role a token of its own")


def _voice_contradictions(voice: VoiceSettings) -> Iterator[Problem]:
    known = {*BUILT_IN, *voice.commands}
    wanted = {*voice.engines.values(), *([voice.fallback] if voice.fallback else [])}
    if unknown := sorted(wanted - known):
        fix = f"Choose among {', '.join(sorted(known))}, or name its program in voice.commands"
        yield Problem("voice.engines", f"no such engine: {', '.join(unknown)}", fix)


def secrets(settings: Settings) -> list[str]:
    """Every secret in use, for those who must not let one slip out."""
    sections = (section for _, section in settings if isinstance(section, Section))
    values = (value for section in sections for _, value in section if isinstance(value, SecretStr))
    of_plugins = (item for table in settings.plugins.values() for item in table.items())
    theirs = [value for key, value in of_plugins if isinstance(value, str) and _SECRET.search(key)]
    return [value.get_secret_value() for value in values] + theirs
