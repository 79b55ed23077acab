"""The parts a daemon has or has not, by its settings; what is costly to import is imported by those who have it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from vtuber_brain.bus.broker import EmbeddedBroker
from vtuber_brain.bus.mqtt import MqttBus
from vtuber_brain.chat.record import Recorder
from vtuber_brain.engine.api import Engine, OnState
from vtuber_brain.engine.client import LocalEngine
from vtuber_brain.plan import Plan
from vtuber_brain.runtime.child import State
from vtuber_brain.runtime.health import Health
from vtuber_brain.runtime.lease import LIVE, held
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.runtime.watchdog import Progress
from vtuber_brain.sections import BusSettings, TwitchSettings
from vtuber_brain.sentiment.classifier import Classifier
from vtuber_brain.supply import Supply
from vtuber_brain.transcripts.store import Transcripts
from vtuber_brain.voice_keeper import VoiceKeeper

log = structlog.get_logger(__name__)

CHILD_STUCK_S = 10.0
"""How long after its own deadlines the supervision of a child may have done nothing."""

DELIVERY_STUCK_S = 60.0
"""How long one message may take into the inbox and the transcripts."""

if TYPE_CHECKING:
    from vtuber_brain.chat.twitch.source import TwitchChat


def engine(plan: Plan, metrics: Metrics, on_state: OnState) -> Engine:
    """The worker on this machine, or the servers of [remote]."""
    settings = plan.settings
    if plan.model is not None:
        return LocalEngine(plan.model, settings.engine, settings.model, metrics, on_state)
    from vtuber_brain.engine.remote import RemoteEngine

    return RemoteEngine(settings.remote, settings.engine.deadline_s, metrics, on_state)


def classifier(plan: Plan, metrics: Metrics, on_state: Callable[[State, str], None]) -> Classifier | None:
    """The classifier in its own process; None: rules alone decide."""
    if plan.classifier is None:
        return None
    return Classifier(plan.classifier, plan.classifier_lora, plan.settings.sentiment, metrics, on_state)


def recorder(path: Path | None, metrics: Metrics, health: Health) -> Recorder | None:
    """What keeps a recording of all chat, where one is wanted."""
    if path is None:
        return None
    return Recorder(path, metrics, lambda up, reason: health.set("recording", up, reason))


def twitch(settings: TwitchSettings, metrics: Metrics, health: Health) -> "list[TwitchChat]":
    """Twitch's chat, where it is enabled."""
    if not settings.enabled:
        return []
    from vtuber_brain.chat.twitch.source import TwitchChat

    return [TwitchChat(settings, metrics, health.set)]


def voices(plan: Plan, config: Path | None, bus_port: int, health: Health) -> list[VoiceKeeper]:
    """The voice's process, where it is enabled."""
    if not plan.settings.voice.enabled:
        return []
    return [VoiceKeeper(config, bus_port, lambda up, reason: health.set("voice", up, reason))]


def progress(bus: MqttBus, engine: Engine, classifier: Classifier | None, supply: Supply) -> Progress:
    """Whose getting on the watchdog waits for."""
    found = Progress()
    found.watch("bus", bus.busy.stuck_s, bus.patience_s)
    found.watch("sources", supply.busy.stuck_s, DELIVERY_STUCK_S)
    if isinstance(engine, LocalEngine):
        found.watch("engine", engine.stuck_s, CHILD_STUCK_S)
    if classifier is not None:
        found.watch("classifier", classifier.stuck_s, CHILD_STUCK_S)
    return found


@contextlib.asynccontextmanager
async def transcripts(plan: Plan) -> AsyncIterator[Transcripts | None]:
    """The transcripts of one run, a stream of their own, with a lease beside them; None where none are kept."""
    if plan.transcripts is None:
        yield None
        return
    persona, model, memory = plan.persona.name, plan.model_name, plan.settings.memory.model_dump_json()
    async with contextlib.AsyncExitStack() as stack:
        try:
            stack.enter_context(held(plan.transcripts.with_name(LIVE), f"the daemon of {persona}", shared=True))
        except OSError as error:  # then the transcripts will hardly open either, and say more
            log.warning("lease_not_taken", reason=str(error))
        opening = Transcripts.open(plan.transcripts, persona=persona, model=model, release=None, memory=memory)
        yield await stack.enter_async_context(opening)


@contextlib.asynccontextmanager
async def broker(settings: BusSettings) -> AsyncIterator[BusSettings]:
    """Run the embedded broker if it is asked for; gives the settings to connect with, the port filled in."""
    if settings.broker == "external":
        yield settings
        return
    async with EmbeddedBroker(settings) as embedded:
        yield settings.model_copy(update={"port": embedded.port})
