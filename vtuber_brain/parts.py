"""The parts a daemon has or has not, by its settings; what is costly to import is imported by those who have it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vtuber_brain.engine.api import Engine, OnState
from vtuber_brain.engine.client import LocalEngine
from vtuber_brain.plan import Plan
from vtuber_brain.runtime.child import State
from vtuber_brain.runtime.health import Health
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import TwitchSettings
from vtuber_brain.sentiment.classifier import Classifier

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


def twitch(settings: TwitchSettings, metrics: Metrics, health: Health) -> "list[TwitchChat]":
    """Twitch's chat, where it is enabled."""
    if not settings.enabled:
        return []
    from vtuber_brain.chat.twitch.source import TwitchChat

    return [TwitchChat(settings, metrics, health.set)]
