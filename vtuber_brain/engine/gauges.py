"""The worker's own figures as the daemon's metrics: counts that only grow, also when the worker starts anew."""

from vtuber_brain.engine.wire import Stats
from vtuber_brain.runtime.metrics import Metrics


class EngineGauges:
    """Keeps the metrics of one worker."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._before = Stats()

    def restarted(self) -> None:
        """The next worker counts from nought, and nothing is in use."""
        self._before = Stats()
        for what in ("slots", "waiting", "kv_tokens", "kv_running_tokens", "loras"):
            self._metrics.engine_use.labels(what).set(0)
        for what in ("ours", "used"):
            self._metrics.gpu.labels(what).set(0)

    def take(self, stats: Stats) -> None:
        """What the worker says now."""
        before, self._before = self._before, stats
        tokens = self._metrics.tokens
        tokens.labels("prompt").inc(stats.prompt_tokens - before.prompt_tokens)
        tokens.labels("cached").inc(stats.cached_tokens - before.cached_tokens)
        tokens.labels("completion").inc(stats.completion_tokens - before.completion_tokens)
        self._metrics.steps.inc(stats.num_steps - before.num_steps)
        use, room = self._metrics.engine_use, self._metrics.engine_room
        use.labels("slots").set(stats.num_running)
        use.labels("waiting").set(stats.num_waiting)
        use.labels("kv_tokens").set(stats.kv_tokens)
        use.labels("kv_running_tokens").set(stats.kv_running_tokens)
        use.labels("loras").set(stats.num_loras)
        room.labels("slots").set(stats.num_slots)
        room.labels("kv_tokens").set(stats.kv_capacity)
        room.labels("kv_bytes").set(stats.kv_bytes)
        room.labels("loras").set(stats.max_loras)
        room.labels("lora_bytes").set(stats.lora_bytes)
        self._metrics.gpu.labels("ours").set(stats.device_bytes)
        self._metrics.gpu.labels("used").set(stats.device_used_bytes)
        self._metrics.gpu.labels("total").set(stats.device_total_bytes)
