"""Every setting, with its default, unit and meaning; loaded from TOML, then environment, then credentials.

`load` reports every problem in one pass and never prints a value. Nothing here is read at import.
"""

import ipaddress
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from vtuber_brain import environment
from vtuber_brain.environment import ENV_DELIMITER, ENV_PREFIX
from vtuber_brain.errors import ConfigError, Problem

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """One table of the file; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PersonaSettings(Section):
    """`[persona]` who speaks."""

    name: str = Field("mori", description="the persona's file name without .toml, or a path to the file")
    dir: Path | None = Field(None, description="folder of persona files; unset: the ones that ship")


class ChatSettings(Section):
    """`[chat]` the inbox between the sources and the model."""

    capacity: Count = Field(256, description="waiting chat messages; when full the oldest is dropped (inbox_full)")
    money_capacity: Count = Field(64, description="waiting money events; when full the oldest is dropped (inbox_full)")
    max_age_s: Seconds = Field(10, description="a chat message older than this is dropped, not answered (too_old)")
    author_burst: Count = Field(4, description="messages one viewer may send at once before author_rate applies")
    author_per_s: Seconds = Field(0.5, description="messages per second one viewer may send in the long run")
    dedupe: Count = Field(8192, description="message ids remembered to recognise a duplicate")


class WebSocketSettings(Section):
    """`[websocket]` chat over WebSocket at /chat."""

    enabled: bool = Field(True, description="whether to listen")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8766, description="port to listen on; 0 takes a free one")
    token: SecretStr | None = Field(None, description="bearer token; required when host is not loopback")
    origins: list[str] = Field([], description="browser origins allowed; a client without Origin always is")
    max_message_bytes: Count = Field(16384, description="a longer frame closes the connection (1009)")
    messages_per_s: Seconds = Field(50, description="frames per second per connection; more are refused (rate_limited)")
    burst: Count = Field(100, description="frames at once per connection before messages_per_s applies")
    max_connections: Count = Field(256, description="connections at once; more are turned away (503)")


class BusSettings(Section):
    """`[bus]` MQTT, where the voice and the avatar listen."""

    broker: Literal["embedded", "external"] = Field("external", description="embedded: run a broker on host:port")
    host: str = Field("127.0.0.1", description="the broker's address")
    port: Port = Field(1883, description="the broker's port; 0 with an embedded broker takes a free one")
    username: str | None = Field(None, description="user at the broker")
    password: SecretStr | None = Field(None, description="password at the broker")
    tls: bool = Field(False, description="connect over TLS with the system's certificates")
    prefix: str = Field("vtuber", description="first part of every topic", pattern=r"^[^$#+/][^#+/]*$")
    queue: Count = Field(256, description="publications waiting for the broker; when full the oldest is dropped")
    max_age_s: Seconds = Field(30, description="an utterance that waited longer for the broker is dropped (stale)")
    timeout_s: Seconds = Field(5, description="how long one exchange with the broker may take")
    retry_max_s: Seconds = Field(5, description="longest pause between two attempts to connect")


class ModelSettings(Section):
    """`[model]` the causal language model."""

    path: str = Field("bundled:smollm2-135m-instruct", description="bundled:NAME, a local directory, or a hub id")
    revision: str | None = Field(None, description="revision of a hub id")
    dtype: Literal["auto", "model", "bf16", "fp16", "fp32"] = Field(
        "auto", description="auto: bf16 where the device is fast at it; model: as the weights were saved"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda when there is one")


class EngineSettings(Section):
    """`[engine]` the worker process and its slots."""

    num_slots: Count = Field(8, description="requests that run at once: rows of the KV cache")
    context: Count = Field(1024, description="tokens per slot: prompt and reply together")
    prefill_chunk: Count = Field(256, description="prompt tokens computed between two decode steps")
    max_waiting: Count = Field(64, description="requests waiting for a slot; more fail at once (queue_full)")
    threads: int = Field(0, ge=0, description="CPU threads of the worker; 0: the cores there are")
    deadline_s: Seconds = Field(30, description="a request not done by then fails (deadline)")
    start_timeout_s: Seconds = Field(180, description="how long loading and warming up may take")
    ping_s: Seconds = Field(1, description="pause between two pings")
    slow_s: Seconds = Field(5, description="no answer for this long: the status says degraded")
    dead_s: Seconds = Field(20, description="no answer for this long: the worker is killed and started again")
    backoff_s: Seconds = Field(0.5, description="first pause before a restart; doubles")
    backoff_max_s: Seconds = Field(30, description="longest pause before a restart")


class SentimentSettings(Section):
    """`[sentiment]` rules and the classifier."""

    enabled: bool = Field(True, description="run the classifier; off: rules alone decide, output included")
    model: str = Field("bundled:minilm-chat", description="bundled:NAME, a local directory, or a hub id")
    lora: Path | None = Field(None, description="a PEFT directory on top of the model; unset: the bundled one's own")
    labels: dict[str, str] = Field({}, description="model label to negative, neutral, positive or toxic")
    toxic_threshold: Share = Field(0.7, description="input at or above is denied (toxic)")
    speak_threshold: Share = Field(0.6, description="our own sentence at or above is not spoken (toxic)")
    max_batch: Count = Field(32, description="texts classified in one forward")
    max_wait_ms: float = Field(4, ge=0, description="how long a text waits for others to share a forward")
    max_tokens: Count = Field(96, description="tokens of a text that are looked at")
    timeout_s: Seconds = Field(2, description="no answer by then: rules alone decide; output is not spoken")
    threads: Count = Field(1, description="CPU threads of the classifier's process")
    start_timeout_s: Seconds = Field(120, description="how long loading may take")
    max_chars: Count = Field(500, description="longer messages are denied (too_long)")
    max_links: int = Field(0, ge=0, description="more links than this are denied (links)")
    blocklist: Path | None = Field(
        None, description="a file of words and phrases, one a line; unset: the one that ships"
    )


class MemorySettings(Section):
    """`[memory]` what the prompt remembers."""

    window: Count = Field(8, description="past turns in the prompt")
    max_chars: Count = Field(1600, description="characters of past turns in the prompt; the oldest go first")
    viewers: Count = Field(2000, description="viewers remembered; the one unseen longest is forgotten")
    facts: Count = Field(6, description="facts kept per viewer")
    recall_timeout_s: Seconds = Field(0.3, description="a recall later than this is left out")


class SpeechSettings(Section):
    """`[speech]` from tokens to sentences on the bus."""

    max_sentence_chars: int = Field(220, ge=40, description="a longer sentence is cut at a clause")
    max_sentences: Count = Field(4, description="sentences per reply; the rest is not generated")
    stale_s: Seconds = Field(20, description="a reply whose first sentence is later than this is dropped (stale)")
    thinking: Count = Field(8, description="replies generated side by side")
    drain_s: Seconds = Field(5, description="how long a running reply may go on after SIGTERM")


class TranscriptsSettings(Section):
    """`[transcripts]` the log of everything heard and said."""

    enabled: bool = Field(True, description="keep transcripts")
    path: Path | None = Field(None, description="the SQLite file; unset: transcripts.db in the state folder")


class LogSettings(Section):
    """`[logs]` events for the operator, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level written")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else json")


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
    websocket: WebSocketSettings = WebSocketSettings()
    bus: BusSettings = BusSettings()
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    sentiment: SentimentSettings = SentimentSettings()
    memory: MemorySettings = MemorySettings()
    speech: SpeechSettings = SpeechSettings()
    transcripts: TranscriptsSettings = TranscriptsSettings()
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
    settings: Settings | None = None
    try:
        settings = Settings(**table)
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
        return tomllib.loads(path.read_text(encoding="utf-8")), []
    except OSError as error:
        return {}, [
            Problem(str(path), error.strerror or "cannot be read", "Give the path of a TOML file with --config")
        ]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return {}, [Problem(str(path), f"not TOML: {error}", "Mend the file at the place named")]


def _problem(path: Path | None, item: Mapping[str, Any]) -> Problem:
    key = ".".join(str(part) for part in item["loc"])
    variable = ENV_PREFIX + key.upper().replace(".", ENV_DELIMITER)
    where = f"{path or 'settings'}: {key}" + (f" (from {variable})" if variable in os.environ else "")
    if item["type"] == "extra_forbidden":
        return Problem(where, "unknown setting", "Remove it, or look for its right name in docs/settings.md")
    return Problem(where, item["msg"], "Its meaning and default are in docs/settings.md")


def _contradictions(settings: Settings) -> Iterator[Problem]:
    websocket = settings.websocket
    if (
        websocket.enabled
        and not is_loopback(websocket.host)
        and not (websocket.token and websocket.token.get_secret_value())
    ):
        fix = "Set websocket.token (VTB_WEBSOCKET__TOKEN or a credential), or listen on 127.0.0.1"
        yield Problem("websocket.host", "chat would be open to the network without a token", fix)
    engine = settings.engine
    if engine.slow_s >= engine.dead_s:
        yield Problem("engine.slow_s", "not less than engine.dead_s", "Make slow_s the smaller of the two")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def secrets(settings: Settings) -> list[str]:
    """Every secret in use, for those who must not let one slip out."""
    sections = (section for _, section in settings if isinstance(section, Section))
    values = (value for section in sections for _, value in section if isinstance(value, SecretStr))
    return [value.get_secret_value() for value in values]
