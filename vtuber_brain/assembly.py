"""How the way of a message is put together from its rooms: by the daemon, and by a rehearsal with other ends to it."""

from collections.abc import Callable, Sequence

from vtuber_brain.cast import Cast
from vtuber_brain.chat.choice import Choice
from vtuber_brain.chat.inbox import Inbox
from vtuber_brain.config import Settings
from vtuber_brain.context.memory import Memory
from vtuber_brain.engine.api import Engine
from vtuber_brain.gate import Gate, OnPause
from vtuber_brain.pipeline import Pipeline
from vtuber_brain.plugin_api import Recall
from vtuber_brain.publisher import Publisher
from vtuber_brain.replies import Mouth
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sentiment.judge import Judge
from vtuber_brain.thoughts import new_reply_id


def assemble(
    settings: Settings,
    metrics: Metrics,
    *,
    judge: Judge,
    engine: Engine,
    model: str,
    cast: Cast,
    publisher: Publisher,
    recalls: Sequence[Recall] = (),
    on_pause: OnPause = lambda _up, _reason: None,
    new_id: Callable[[], str] = new_reply_id,
) -> Pipeline:
    """From the inbox to the mouth. `model` is the name its turns are recorded with."""
    gate = Gate(judge, settings.speech, metrics, on_pause)
    mouth = Mouth(
        cast, settings.speech, metrics, gate=gate, engine=engine, model=model, publisher=publisher, new_id=new_id
    )
    choice = Choice(settings.choice, lambda: cast.names)
    return Pipeline(
        settings,
        metrics,
        inbox=Inbox(settings.chat, choice, metrics, on_drop=publisher.drop, clock=now_s),
        judge=judge,
        memory=Memory(settings.memory),
        cast=cast,
        mouth=mouth,
        publisher=publisher,
        recalls=recalls,
    )
