"""`vtuber-brain check`: what `run` would start, and everything that stands in its way, without starting any of it."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtuber_brain.bus.broker import broker_problem
from vtuber_brain.bus.connection import broker_answers
from vtuber_brain.chat.record import length
from vtuber_brain.config import state_dir
from vtuber_brain.control.tokens import FILE
from vtuber_brain.errors import ConfigError, Problem, Refused, Unavailable
from vtuber_brain.openness import open_to_others
from vtuber_brain.plan import Plan, make_plan
from vtuber_brain.plugins import Plugins
from vtuber_brain.roles import choose
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import BusSettings

State = Literal["ok", "off", "open", "wrong"]
"""`open`: it would work, and others of the machine may read or change what they should not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One part of the daemon: how it stands, with what, and what to do when it is wrong."""

    part: str
    state: State
    detail: str


async def findings(config: Path | None) -> list[Finding]:
    """Look at every part; a finding that is wrong says what to do."""
    try:
        plan = make_plan(config)
    except ConfigError as error:
        return [Finding("settings", "wrong", str(problem)) for problem in error.problems]
    settings = plan.settings
    return [
        Finding("settings", "ok", str(config or "all defaults")),
        Finding("persona", "ok", f"{plan.persona.display_name} ({plan.persona.language})"),
        _model(plan),
        _lora(plan),
        _classifier(plan),
        _transcripts(plan.transcripts),
        _chat(plan),
        _control(plan),
        _recording(plan.settings.chat.record),
        await _bus(settings.bus),
        *await _plugins(plan),
        *_permissions(config, plan.transcripts),
    ]


def _model(plan: Plan) -> Finding:
    if plan.model is not None:
        return Finding("model", "ok", f"{plan.model_name} in {plan.model}")
    remote = plan.settings.remote
    return Finding("model", "ok", f"{remote.model} at {', '.join(remote.urls)} (engine.kind is openai)")


def _lora(plan: Plan) -> Finding:
    try:
        weights = choose(plan.persona, None, plan.releases, plan.model_name)
    except ConfigError as error:
        return Finding("lora", "wrong", str(error))
    if weights.path is None:
        return Finding("lora", "off", "the base model speaks: no lora in the persona's file, no current release")
    if not (weights.path / "adapter_config.json").exists():
        fix = "Correct lora in the persona's file, or choose another release"
        return Finding("lora", "wrong", f"{weights.path}: no PEFT directory. {fix}")
    return Finding("lora", "ok", f"{weights.release} in {weights.path}")


def _classifier(plan: Plan) -> Finding:
    if plan.classifier is None:
        return Finding("classifier", "off", "sentiment.enabled is false: rules alone decide")
    lora = f" with {plan.classifier_lora}" if plan.classifier_lora else ""
    if plan.classifier_lora and not (Path(plan.classifier_lora) / "adapter_config.json").exists():
        return Finding("classifier", "wrong", f"{plan.classifier_lora}: no PEFT directory. Correct sentiment.lora")
    return Finding("classifier", "ok", f"{plan.settings.sentiment.model}{lora}")


def _transcripts(path: Path | None) -> Finding:
    if path is None:
        return Finding("transcripts", "off", "transcripts.enabled is false: nothing is kept")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    target = path if path.exists() else folder
    if not os.access(target, os.W_OK):
        return Finding("transcripts", "wrong", f"{target}: cannot be written. Change its owner, or transcripts.path")
    return Finding("transcripts", "ok", str(path))


def _recording(path: Path | None) -> Finding:
    if path is None:
        return Finding("recording", "off", "chat.record is not set")
    try:
        seconds, _ = length(path)
    except (OSError, Refused) as error:
        return Finding("recording", "wrong", str(error))
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return Finding("recording", "wrong", f"{path}: cannot be written. Change its owner, or chat.record")
    return Finding("recording", "ok", f"{path} ({seconds:.0f} s so far)")


def _chat(plan: Plan) -> Finding:
    chat = plan.settings.websocket
    if not chat.enabled:
        return Finding("chat", "off", "websocket.enabled is false")
    problem = port_taken(chat.host, chat.port, "websocket.port")
    if problem is not None:
        return Finding("chat", "wrong", str(problem))
    return Finding("chat", "ok", f"ws://{chat.host}:{chat.port}/chat{' (token)' if chat.token else ''}")


def _control(plan: Plan) -> Finding:
    control = plan.settings.control
    if not control.enabled:
        return Finding("control", "off", "control.enabled is false")
    problem = port_taken(control.host, control.port, "control.port")
    if problem is not None:
        return Finding("control", "wrong", str(problem))
    kept = f"the owner's token is in {state_dir() / FILE}" if control.owner_token is None else "tokens of the settings"
    return Finding("control", "ok", f"http://{control.host}:{control.port} ({kept})")


async def _bus(bus: BusSettings) -> Finding:
    where = f"mqtt://{bus.host}:{bus.port}"
    if bus.broker == "embedded":
        problem = broker_problem(bus.host) or port_taken(bus.host, bus.port, "bus.port")
        return Finding("bus", "wrong", str(problem)) if problem else Finding("bus", "ok", f"{where} (embedded)")
    try:
        await broker_answers(bus)
    except Unavailable as error:
        return Finding("bus", "wrong", f"{where}: {error}. Start the broker, or correct the [bus] settings")
    return Finding("bus", "ok", f"{where} answers")


async def _plugins(plan: Plan) -> list[Finding]:
    """Each with version, hooks and state. Those that are on are set up for it: whether that fails is the question."""
    states: dict[str, State] = {"on": "ok", "off": "off", "failed": "wrong", "refused": "wrong"}
    return [
        Finding(
            f"plugin {one.name}",
            states[one.state],
            " · ".join(part for part in (one.version, ", ".join(one.hooks), one.state, one.detail) if part),
        )
        for one in (await Plugins.load(plan.settings.plugins, Metrics())).statuses
    ]


def _permissions(config: Path | None, transcripts: Path | None) -> list[Finding]:
    found = list(open_to_others(config, state_dir(), state_dir() / "plugins", transcripts))
    return [Finding("permissions", "open", what) for what in found] or [Finding("permissions", "ok", str(state_dir()))]


def port_taken(host: str, port: int, setting: str) -> Problem | None:
    """Why nothing can listen on host:port, if so."""
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        fix = f"Stop what listens there (perhaps a daemon that runs already), or change {setting}"
        return Problem(f"{host}:{port}", (error.strerror or str(error)).lower(), fix)
    return None
