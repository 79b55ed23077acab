"""One request while it runs, and what it has cost when it ends."""

import time
from dataclasses import dataclass, field

from vtuber_brain.engine.endings import Ending
from vtuber_brain.engine.places import Place
from vtuber_brain.engine.scheduler import Job
from vtuber_brain.engine.wire import Generate, Usage


@dataclass(slots=True)
class Reply:
    """The scheduler's job, its lora's place, and what turns its tokens into an answer."""

    request: Generate
    job: Job
    place: Place | None
    ending: Ending
    arrived_s: float
    started_s: float | None = None
    first_token_s: float | None = None
    unsent: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def usage(self) -> Usage:
        """Tokens and times up to now."""
        now_s = time.monotonic()
        return Usage(
            prompt_tokens=len(self.job.prompt),
            cached_tokens=self.job.num_cached,
            completion_tokens=len(self.job.output),
            queued_ms=((self.started_s or now_s) - self.arrived_s) * 1000,
            first_token_ms=((self.first_token_s or now_s) - self.arrived_s) * 1000,
            total_ms=(now_s - self.arrived_s) * 1000,
        )
