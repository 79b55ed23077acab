"""The numbers of the Twitch source, beside the daemon's own."""

from prometheus_client import Counter, Gauge

from vtuber_brain.runtime.metrics import Metrics


class TwitchMetrics:
    """On the daemon's registry, so once per daemon; labels come from closed lists."""

    def __init__(self, metrics: Metrics) -> None:
        registry = metrics.registry
        self.gap = Counter("vtb_twitch_gap_seconds", "Seconds without a connection to Twitch", registry=registry)
        self.ignored = Counter("vtb_twitch_ignored", "Events that were left out", ["reason"], registry=registry)
        self.sent = Counter("vtb_twitch_replies_sent", "Replies written into chat", registry=registry)
        self.unsent = Counter("vtb_twitch_replies_dropped", "Replies not written", ["reason"], registry=registry)
        self.live = Gauge("vtb_twitch_live", "Whether the stream is on, where that is known", registry=registry)
