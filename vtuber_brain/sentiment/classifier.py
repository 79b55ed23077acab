"""The daemon's side of the classifier: gathers texts into micro-batches, asks the child, remembers recent answers.

It holds no model and imports no torch. When the child is down or late, whoever asks gets JudgeDown, at once or in time.
"""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vtuber_brain.errors import JudgeDown, Unavailable
from vtuber_brain.messages import Mood
from vtuber_brain.runtime.child import Child, State, Supervision
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.classifier_text import MAX_CHARS
from vtuber_brain.sentiment.wire import Classify, Configure, Failed, Message, Moods, protocol

RECENT = 4096
MAX_UNDER_WAY = 4096


class Classifier:
    """Moods from one supervised child. `run` must be running for `mood` to answer.

    `base` is a local folder or a hub id, `lora` a local PEFT folder. At most MAX_UNDER_WAY different texts are asked at
    once; a further one raises JudgeDown. `on_state` hears every change of the child's state with its reason.
    """

    def __init__(
        self,
        base: str,
        lora: str | None,
        settings: SentimentSettings,
        metrics: Metrics,
        on_state: Callable[[State, str], None],
    ) -> None:
        self._settings, self._metrics, self._on_state = settings, metrics, on_state
        first = Configure(
            base,
            lora,
            dict(settings.labels),
            settings.threads,
            settings.max_tokens,
            settings.max_batch,
            settings.device,
        )
        self._child: Child[Message] = Child(
            "classifier",
            "vtuber_brain.sentiment.worker",
            protocol(),
            first,
            Supervision(start_timeout_s=settings.start_timeout_s),
            on_message=self._hear,
            on_state=self._follow,
            environment=_environment(base, settings.threads),
        )
        self._recent: OrderedDict[str, Mood] = OrderedDict()
        self._answers: dict[str, asyncio.Future[Mood]] = {}
        self._waiting: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._asked: dict[int, tuple[Sequence[str], float]] = {}
        self._ids = itertools.count()
        self._num_lives = 0

    @property
    def pid(self) -> int | None:
        """The child's process id, once it has been started."""
        return self._child.pid

    def stuck_s(self) -> float:
        """How long the child's supervision is beyond its deadlines, in seconds."""
        return self._child.stuck_s()

    async def run(self) -> None:
        """Keep the child alive until cancelled. Raises Refused when the model can never be served."""
        try:
            await self._child.run()
        finally:
            self._fail_all("the classifier was stopped")

    async def wait_ready(self) -> dict[str, Any]:
        """The child's facts (model, labels, has_toxicity, load_s), as soon as it can answer."""
        return await self._child.wait_ready()

    async def mood(self, text: str) -> Mood:
        """The mood of `text`. Raises JudgeDown when the child is down, fails on it, or takes over `timeout_s`.

        Equal texts under way or recent are answered once. Giving up waiting leaves the others' batch as it is.
        """
        text = text[:MAX_CHARS].encode("utf-8", "replace").decode("utf-8")  # half an emoji cannot travel
        if (known := self._recent.get(text)) is not None:
            self._recent.move_to_end(text)
            return known
        answer = self._answers.get(text) or self._ask(text)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await asyncio.shield(answer)
        except TimeoutError:
            raise JudgeDown(f"no mood within {self._settings.timeout_s} s") from None

    def _ask(self, text: str) -> asyncio.Future[Mood]:
        if self._child.state not in {"ready", "slow"}:
            raise JudgeDown(f"the classifier is {self._child.state}")
        if len(self._answers) >= MAX_UNDER_WAY:
            raise JudgeDown(f"{MAX_UNDER_WAY} texts are waiting for the classifier")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Mood] = loop.create_future()
        answer.add_done_callback(_look)
        self._answers[text] = answer
        self._waiting.append(text)
        if len(self._waiting) >= self._settings.max_batch:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._settings.max_wait_ms / 1000, self._flush)
        return answer

    def _flush(self) -> None:
        """Send what waits as one request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        texts, self._waiting = self._waiting, []
        if not texts:
            return
        request = next(self._ids)
        self._asked[request] = texts, now_s()
        try:
            self._child.send(Classify(request, texts))
        except Unavailable:
            self._fail(request, "the classifier went down")

    def _hear(self, message: Message) -> None:
        match message:
            case Moods(request, moods) if request in self._asked:
                self._resolve(request, moods)
            case Failed(request, code, detail):
                self._metrics.errors.labels("classifier").inc()
                self._fail(request, f"{code}: {detail}")

    def _resolve(self, request: int, moods: Sequence[Mood]) -> None:
        texts, asked_s = self._asked.pop(request)
        self._metrics.stage.labels("classify").observe(now_s() - asked_s)
        for text, mood in zip(texts, moods, strict=True):
            self._remember(text, mood)
            answer = self._answers.pop(text)
            if not answer.done():
                answer.set_result(mood)

    def _remember(self, text: str, mood: Mood) -> None:
        self._recent[text] = mood
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def _follow(self, state: State, reason: str) -> None:
        self._metrics.up.labels("classifier").set(state in {"ready", "slow"})
        if state == "starting":
            self._metrics.restarts.labels("classifier").inc(1 if self._num_lives else 0)
            self._num_lives += 1
        if state in {"starting", "down"}:
            self._fail_all(f"the classifier is {state}")
        self._on_state(state, reason)

    def _fail(self, request: int, reason: str) -> None:
        texts, _ = self._asked.pop(request, ((), 0.0))
        self._give_up(texts, reason)

    def _fail_all(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        self._asked.clear()
        self._give_up(list(self._answers), reason)

    def _give_up(self, texts: Sequence[str], reason: str) -> None:
        for text in texts:
            answer = self._answers.pop(text)
            if not answer.done():
                answer.set_exception(JudgeDown(reason))


def _environment(base: str, threads: int) -> dict[str, str]:
    """Threads that wait asleep: spinning ones take the cores from the engine beside us, and from each other."""
    environment = {"OMP_NUM_THREADS": str(threads or 1), "TOKENIZERS_PARALLELISM": "false"}
    if Path(base).is_dir():
        environment["HF_HUB_OFFLINE"] = "1"
    return environment


def _look(answer: asyncio.Future[Mood]) -> None:
    """Retrieve the exception, so that one nobody waits for any more is not reported as forgotten."""
    if not answer.cancelled():
        answer.exception()
