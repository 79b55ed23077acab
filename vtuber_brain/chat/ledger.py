"""The books of a replay: every message sent ends in exactly one place. Pure; the caller brings frames and clock."""

import math
from array import array
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from vtuber_brain.chat.frames import (
    AckFrame,
    DroppedFrame,
    ErrorFrame,
    ReplyFrame,
    ServerFrame,
    UtteranceFrame,
    VerdictFrame,
)

ANSWERED = frozenset({"spoken", "cut"})


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of `received` messages: `acked` of them were stored; each has one fate or is `unsettled`.

    `denied` counts by the first reason of the verdict; latencies run from sending to the first utterance, in seconds.
    """

    received: int
    acked: int
    answered: int
    outcomes: Mapping[str, int]
    dropped: Mapping[str, int]
    denied: Mapping[str, int]
    errors: Mapping[str, int]
    unsettled: int
    latency_p50_s: float | None
    latency_p95_s: float | None
    cut_short: str | None = None


@dataclass(slots=True)
class _Sent:
    at_s: float
    due: int = 0
    unacked: int = 0
    heard: bool = False


@dataclass(slots=True)
class Ledger:
    """Counts what is sent and what comes back; ids are those on the wire. What is settled is forgotten."""

    num_open: int = 0
    _received: int = 0
    _acked: int = 0
    _sent: dict[Hashable, _Sent] = field(default_factory=dict)
    _outcomes: Counter[str] = field(default_factory=Counter)
    _dropped: Counter[str] = field(default_factory=Counter)
    _denied: Counter[str] = field(default_factory=Counter)
    _errors: Counter[str] = field(default_factory=Counter)
    _latencies_s: "array[float]" = field(default_factory=lambda: array("d"))

    def sent(self, message_id: Hashable, now_s: float) -> None:
        """One message is on its way; the same id may be sent again, and has a fate of its own each time."""
        sent = self._sent.setdefault(message_id, _Sent(now_s))
        sent.due += 1
        sent.unacked += 1
        self._received += 1
        self.num_open += 1

    def heard(self, frame: ServerFrame, now_s: float) -> bool:
        """Enter what the daemon says; False when it is about none of ours."""
        match frame:
            case AckFrame(of="message", id=str(message_id)):
                return self.acked(message_id)
            case ErrorFrame(of="message", id=str(message_id)):
                return self._settle(message_id, self._errors, frame.code, is_acked=False)
            case DroppedFrame():
                return self.dropped(frame.id, frame.reason)
            case VerdictFrame(action="deny"):
                return self.denied(frame.id, frame.reasons)
            case ReplyFrame(in_reply_to=str(message_id)):
                return self.ended(message_id, frame.outcome)
            case UtteranceFrame(in_reply_to=origin) if origin is not None:
                return self.spoke(origin.message_id, now_s)
        return False

    def acked(self, message_id: Hashable) -> bool:
        """A message was stored; False when it is none of ours, as with all of these."""
        sent = self._sent.get(message_id)
        if sent is None:
            return False
        self._acked += 1
        sent.unacked -= 1
        self._forget(message_id, sent)
        return True

    def dropped(self, message_id: Hashable, reason: str) -> bool:
        """A message ended without a reply."""
        return self._settle(message_id, self._dropped, reason)

    def denied(self, message_id: Hashable, reasons: Sequence[str]) -> bool:
        """A message was denied."""
        return self._settle(message_id, self._denied, next(iter(reasons), "denied"))

    def ended(self, message_id: Hashable, outcome: str) -> bool:
        """The reply to a message is over."""
        return self._settle(message_id, self._outcomes, outcome)

    def spoke(self, message_id: Hashable, now_s: float) -> bool:
        """A sentence answers a message."""
        sent = self._sent.get(message_id)
        if sent is None:
            return False
        if not sent.heard:
            sent.heard = True
            self._latencies_s.append(now_s - sent.at_s)
        return True

    def summary(self, cut_short: str | None = None) -> Summary:
        """The books as they stand; `cut_short` says why the replay ended before its time."""
        return Summary(
            received=self._received,
            acked=self._acked,
            answered=sum(self._outcomes[outcome] for outcome in ANSWERED),
            outcomes=dict(self._outcomes),
            dropped=dict(self._dropped),
            denied=dict(self._denied),
            errors=dict(self._errors),
            unsettled=self.num_open,
            latency_p50_s=percentile(self._latencies_s, 0.50),
            latency_p95_s=percentile(self._latencies_s, 0.95),
            cut_short=cut_short,
        )

    def _settle(self, message_id: Hashable, fates: Counter[str], fate: str, *, is_acked: bool = True) -> bool:
        sent = self._sent.get(message_id)
        if sent is None or not sent.due:
            return False
        sent.due -= 1
        sent.unacked -= not is_acked
        self.num_open -= 1
        fates[fate] += 1
        self._forget(message_id, sent)
        return True

    def _forget(self, message_id: Hashable, sent: _Sent) -> None:
        if sent.due <= 0 and sent.unacked <= 0:
            del self._sent[message_id]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of `values` do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def table(summary: Summary) -> Table:
    """The summary for people."""
    grid = Table(title="replay", title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    grid.add_column(style="cyan")
    grid.add_column(justify="right")
    grid.add_column(style="dim")
    grid.add_row("received", str(summary.received), "")
    grid.add_row("acknowledged", str(summary.acked), "")
    grid.add_row("answered", str(summary.answered), _parts(summary.outcomes))
    for name, counts in (("dropped", summary.dropped), ("denied", summary.denied), ("errors", summary.errors)):
        grid.add_row(name, str(sum(counts.values())), _parts(counts))
    grid.add_row("unsettled", str(summary.unsettled), "no fate heard of" if summary.unsettled else "")
    grid.add_row("first words p50", _seconds(summary.latency_p50_s), "")
    grid.add_row("first words p95", _seconds(summary.latency_p95_s), "")
    if summary.cut_short:
        grid.add_row("[red]cut short[/]", "", f"[red]{summary.cut_short}[/]")
    return grid


def _parts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
