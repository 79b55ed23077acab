"""The counters and histograms of the daemon, on a registry of their own; never a global, so tests see only theirs."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENCY_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """One daemon's numbers. Label values come from closed lists, never from viewers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        self.received = Counter("vtb_messages_received", "Messages a source delivered", ["source"], **own)
        self.dropped = Counter("vtb_messages_dropped", "Messages that ended before a verdict", ["reason"], **own)
        self.verdicts = Counter("vtb_verdicts", "Verdicts on messages", ["action"], **own)
        self.reasons = Counter("vtb_denials", "Reasons for which a message was denied", ["reason"], **own)
        self.moods = Counter("vtb_moods", "Chat messages whose mood was found out, and why", ["why"], **own)
        self.queue = Gauge("vtb_queue_waiting", "What waits in a queue", ["queue"], **own)
        self.oldest = Gauge("vtb_queue_oldest_seconds", "How long its oldest has waited", ["queue"], **own)
        self.room = Gauge("vtb_room_mood", "Share of each sentiment in the room lately", ["sentiment"], **own)
        self.replies = Counter("vtb_replies", "Replies that ended, by outcome", ["outcome"], **own)
        self.utterances = Counter("vtb_utterances", "Sentences published", **own)
        self.unspoken = Counter("vtb_sentences_unspoken", "Sentences the output gate kept back", ["reason"], **own)
        self.refused_frames = Counter("vtb_frames_refused", "Frames of chat clients refused", ["code"], **own)
        self.bus_dropped = Counter("vtb_bus_dropped", "Publications the broker never got", ["reason"], **own)
        self.bus_connects = Counter("vtb_bus_connects", "Times the broker was reached", **own)
        self.restarts = Counter("vtb_child_restarts", "Times a child process was started again", ["child"], **own)
        self.errors = Counter("vtb_errors", "Errors stopped at a boundary", ["where"], **own)
        self.inbox = Gauge("vtb_inbox_waiting", "Messages waiting to be judged", ["lane"], **own)
        self.thinking = Gauge("vtb_replies_running", "Replies being thought or spoken", **own)
        self.slots = Gauge("vtb_engine_slots", "Requests the engine runs at once", **own)
        self.up = Gauge("vtb_up", "Whether a part is working", ["part"], **own)
        self.tokens = Counter("vtb_engine_tokens", "Tokens the engine's worker has dealt with", ["kind"], **own)
        self.steps = Counter("vtb_engine_steps", "Forwards the worker has computed", **own)
        self.engine_use = Gauge("vtb_engine_use", "What of the worker's room is in use", ["what"], **own)
        self.engine_room = Gauge("vtb_engine_room", "How much room the worker has", ["what"], **own)
        self.gpu = Gauge("vtb_gpu_memory_bytes", "The device's memory: ours, in use by all, there", ["what"], **own)
        self.resident = Gauge("vtb_process_resident_bytes", "Memory of a process of ours", ["process"], **own)
        self.control_requests = Counter("vtb_control_requests", "HTTP answers", ["route", "status"], **own)
        self.control_refused = Counter("vtb_control_refused", "HTTP requests turned away", ["reason"], **own)
        self.stage = Histogram(
            "vtb_stage_seconds", "Time a message spent in one stage of its way", ["stage"], buckets=_LATENCY_S, **own
        )
