"""The sections of the settings: every key with its default, unit and meaning. config.py loads them.

docs/settings.md and configs/brain.toml are written from here.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]

TWITCH_KEEPALIVE_S = 10
"""The shortest time Twitch lets a silent chat go without a sign of life."""


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
    combine_s: Seconds = Field(5, description="waiting gifts, subs and cheers of one viewer within it become one event")
    record: Path | None = Field(None, description="a file to record what sources bring, for `replay`; unset: none")


class ChoiceSettings(Section):
    """`[choice]` which waiting message she answers next; the weights add up to its score."""

    strategy: Literal["best", "newest", "weighted", "round_robin"] = Field(
        "best", description="weighted draws lots by score; round_robin takes whom she answered least"
    )
    question: float = Field(1.0, description="weight of a question")
    mention: float = Field(1.5, description="weight of her name")
    reply: float = Field(1.5, description="weight of a reply to her")
    new_viewer: float = Field(0.8, description="weight of a viewer's first message")
    returning_viewer: float = Field(0.5, description="weight of a viewer who was silent for half an hour")
    subscriber: float = Field(0.3, description="weight of a subscriber")
    moderator: float = Field(0.3, description="weight of a moderator or the broadcaster")
    novelty: float = Field(1.0, description="weight of differing from what was answered and said lately")
    mood: float = Field(0.4, description="weight of a friendly tone, against it of an unfriendly one")
    length: float = Field(0.5, description="weight of a sentence or two, against a word or an essay")
    age: float = Field(1.5, description="weight of having just come; it fades")
    fresh_s: Seconds = Field(4, description="after so long the weight of age has faded to a third")
    seed: int | None = Field(None, description="the same draws each time for strategy weighted; unset: new ones")
    fold_likeness: float = Field(
        0.8, gt=0, description="share of words in common from which messages are answered as one; above 1: never"
    )
    fold_s: Seconds = Field(6, description="after a message was taken, the like of it is folded into it for so long")
    wave_viewers: Count = Field(5, description="viewers with the same words within wave_s that make a wave")
    wave_s: Seconds = Field(15, description="how long a wave may take to build up")


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


class TwitchSettings(Section):
    """`[twitch]` the chat of one Twitch channel; `vtuber-brain twitch login` gives the account."""

    enabled: bool = Field(False, description="whether to read the channel's chat")
    channel: str = Field("", description="the channel's login name, as in twitch.tv/NAME", pattern=r"^[a-z0-9_]*$")
    client_id: str = Field("", description="client id of the application registered with Twitch")
    client_secret: SecretStr | None = Field(None, description="its secret; a public application has none")
    bot_name: str = Field(
        "", description="login of the account that reads and writes; unset: the one logged in", pattern=r"^[a-z0-9_]*$"
    )
    ignore: list[str] = Field([], description="logins whose messages are left out, such as other bots")
    reply_in_chat: Literal["off", "commands", "all"] = Field(
        "off", description="write her replies into chat too; commands: those to messages that begin with !"
    )
    reply_queue: Count = Field(16, description="replies waiting to be written; when full the oldest is dropped")
    reply_max_age_s: Seconds = Field(20, description="a reply that waited longer is not written any more")
    silence_s: Seconds = Field(12, description="no sign of life from Twitch for this long: connect anew; above 10")
    timeout_s: Seconds = Field(5, description="how long connecting, or one request, may take")
    retry_max_s: Seconds = Field(8, description="longest pause between two attempts to connect")
    dedupe: Count = Field(16384, description="notification ids remembered to recognise a repeated one")


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
    weights: Literal["full", "int8", "fp8", "nf4"] = Field(
        "full", description="how the large matrices are kept; fp8 and nf4 need CUDA and the gpu extra, int8 too on CUDA"
    )


class EngineSettings(Section):
    """`[engine]` what turns a prompt into words: a worker process on this machine, or servers elsewhere."""

    kind: Literal["local", "openai"] = Field("local", description="openai: the servers of [remote] instead of a worker")
    num_slots: Count = Field(8, description="requests that run at once: rows of the KV cache")
    context: Count = Field(1024, description="tokens per slot: prompt and reply together")
    prefill_chunk: Count = Field(256, description="prompt tokens computed between two decode steps")
    num_pinned: int = Field(2, ge=0, description="further rows that keep the beginnings of personas' prompts computed")
    max_loras: int = Field(4, ge=0, description="loras held at once; the one used least makes room for one more")
    max_lora_rank: Count = Field(16, description="largest rank of a lora; a place in the bank is that large")
    memory_gb: float | None = Field(
        None, gt=0, description="most memory for weights, loras and cache, kept by leaving out slots; unset: no limit"
    )
    graphs: bool = Field(True, description="on CUDA, capture decode steps at start: slower start, faster steps")
    max_waiting: Count = Field(64, description="requests waiting for a slot; more fail at once (queue_full)")
    threads: int = Field(0, ge=0, description="CPU threads of the worker; 0: the cores there are")
    deadline_s: Seconds = Field(30, description="a request not done by then fails (deadline)")
    start_timeout_s: Seconds = Field(180, description="how long loading and warming up may take")
    ping_s: Seconds = Field(1, description="pause between two pings")
    slow_s: Seconds = Field(5, description="no answer for this long: the status says degraded")
    dead_s: Seconds = Field(20, description="no answer for this long: the worker is killed and started again")
    backoff_s: Seconds = Field(0.5, description="first pause before a restart; doubles")
    backoff_max_s: Seconds = Field(30, description="longest pause before a restart")


class RemoteSettings(Section):
    """`[remote]` OpenAI-compatible servers, used when engine.kind is openai."""

    urls: list[str] = Field([], description="base URLs, such as http://127.0.0.1:8000/v1; the first that works is used")
    model: str = Field("", description="the base model's name at the servers; a lora is asked for by its own name")
    api_key: SecretStr | None = Field(None, description="key sent to every server")
    per_url: Count = Field(8, description="requests at once per URL; more wait their turn, the paid ones first")
    connect_timeout_s: Seconds = Field(3, description="how long connecting may take")
    first_token_timeout_s: Seconds = Field(10, description="silence after which the next URL is tried, or a reply ends")
    max_retries: int = Field(2, ge=0, description="further attempts after rate limits, errors and lost connections")
    retry_max_s: Seconds = Field(5, description="longest pause between two attempts, also at a failed URL")
    probe_s: Seconds = Field(5, description="pause between two looks at whether the servers answer")
    loras: Literal["served", "vllm"] = Field(
        "served", description="vllm: load and drop them by its /v1/load_lora_adapter; served: they are there by name"
    )


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
    timeout_s: Seconds = Field(2, description="no answer by then: rules alone decide on what viewers write")
    speak_timeout_s: Seconds = Field(1, description="no answer by then: our own sentence is not spoken")
    hold_s: Seconds = Field(120, description="a message held for a human is dropped (held) when nobody decided by then")
    max_held: Count = Field(64, description="messages held at once; when full the oldest is dropped (held)")
    threads: int = Field(0, ge=0, description="CPU threads of its process; 0: up to half the cores, as far as it helps")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda when there is one and it is faster")
    sample_share: Share = Field(
        0.25, description="share of the classifier's time for what waits, and so for the mood of the room; 0: none"
    )
    start_timeout_s: Seconds = Field(120, description="how long loading may take")
    max_chars: Count = Field(500, description="longer messages are denied (too_long)")
    max_links: int = Field(0, ge=0, description="more links than this are denied (links)")
    blocklist: Path | None = Field(
        None, description="a file of words and phrases, one a line; unset: the one that ships"
    )
    allowlist: Path | None = Field(
        None, description="a file of words and phrases that win over the block list; unset: the one that ships"
    )
    personal_data: Literal["deny", "allow"] = Field(
        "deny", description="messages with telephone numbers, addresses, cards and the like; she never says them"
    )
    echo_orders: Literal["deny", "allow"] = Field(
        "deny", description="messages that have her say a viewer's own words, or decode them (echo_order, encoded)"
    )
    other_language: Literal["allow", "script", "all"] = Field(
        "all", description="deny texts in none of the persona's languages; script: only those not in Latin letters"
    )


class Filter(Section):
    """A persona's `[filter]`: what she lets through and how she takes it, where it differs from `[sentiment]`."""

    answer_negative: Literal["never", "gently", "always"] = Field(
        "gently", description="unfriendly or unhappy messages: denied, answered knowing their tone, or like any other"
    )
    toxic_threshold: Share | None = Field(None, description="input at or above is denied; unset: the settings'")
    speak_threshold: Share | None = Field(None, description="hers at or above is not spoken; unset: the settings'")
    hold_threshold: Share | None = Field(
        None, description="input from here up to toxic_threshold is held for a human (doubtful); unset: none is"
    )
    hold: frozenset[str] = Field(
        frozenset(), description="reasons of rules that hold a message for a human instead of denying it, such as links"
    )
    roles: dict[str, Share] = Field(
        {}, description="a role, such as moderator, and the toxic_threshold of those who have it"
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
    interrupt: Literal["never", "sentence", "at_once"] = Field(
        "sentence", description="how the running reply makes way for an event worth interrupt_worth: after its sentence"
    )
    interrupt_worth: float = Field(1000, gt=0, description="worth in bits from which an event cuts the running reply")
    max_refusals: Count = Field(3, description="sentences refused in a row after which she pauses, and says so")
    refusal_pause_s: Seconds = Field(60, description="how long that pause is; `unmute` ends it")
    canned_every_s: float = Field(
        30, ge=0, description="while there is no engine, a persona's canned line at most so often; 0: none"
    )
    idle_s: float = Field(90, ge=0, description="after so long without chat or speech she speaks on her own; 0: never")
    idle_times: Count = Field(3, description="how often in a row she does so while nobody writes")
    drain_s: Seconds = Field(5, description="how long a running reply may go on after SIGTERM")


class TranscriptsSettings(Section):
    """`[transcripts]` the log of everything heard and said."""

    enabled: bool = Field(True, description="keep transcripts")
    path: Path | None = Field(None, description="the SQLite file; unset: transcripts.db in the state folder")


class LogSettings(Section):
    """`[logs]` events for the operator, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level written")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else json")
