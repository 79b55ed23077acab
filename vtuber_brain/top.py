"""`vtuber-brain top`: how she is, live in the terminal, from her control API. It only looks."""

import json
import select
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from vtuber_brain.config import state_dir
from vtuber_brain.control.tokens import FILE
from vtuber_brain.errors import Refused, Unavailable

URL = "http://127.0.0.1:8765"
PERIOD_S = 1.0
TIMEOUT_S = 5.0
MIB = 2**20
STAGES = ("judged", "first_token", "first_sentence", "published", "playback", "ended")
_COLOURS = {"online": "green", "degraded": "yellow", "muted": "red", "asleep": "dim"}

Url = Annotated[str, Parameter(name="--url", help="The daemon's control API.")]
Token = Annotated[
    str | None,
    Parameter(name="--token", env_var="VTB_CONTROL__VIEWER_TOKEN", help="A token of it; else the state folder's."),
]
Once = Annotated[bool, Parameter(name="--once", help="One frame, then the end.", negative="")]

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment; `figures` by name and labels, `at_s` monotonic."""

    state: Mapping[str, Any]
    figures: Mapping[tuple[str, Labels], float]
    at_s: float

    def figure(self, name: str, **labels: str) -> float:
        """One figure; 0 for one that nobody has counted yet."""
        return self.figures.get((name, tuple(sorted(labels.items()))), 0.0)


def top(*, url: Url = URL, token: Token = None, once: Once = False) -> None:
    """Watch her: state, queues, thoughts, latency, engine, memory. q or ctrl-C ends it."""
    token = token or _kept_token()
    before = look(url, token)
    if once:
        Console().print(frame(before, None))
        return
    with _keys(), Live(frame(before, None), screen=True, auto_refresh=False) as live:
        while not _is_q_pressed(PERIOD_S):
            now = look(url, token)
            live.update(frame(now, before), refresh=True)
            before = now


def look(url: str, token: str) -> Sample:
    """State and metrics, now. Raises Unavailable when nothing answers, Refused when the token may not."""
    state = json.loads(_get(f"{url}/v1/state", token))
    metrics = _get(f"{url}/metrics", token).decode()
    figures = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    return Sample(state, figures, time.monotonic())


def frame(now: Sample, before: Sample | None) -> Group:
    """One picture; rates need the sample before."""
    return Group(_headline(now), "", _going_on(now), "", _queues(now), "", _latency(now), "", _machine(now, before))


def _headline(now: Sample) -> str:
    state = now.state
    colour = _COLOURS[state["state"]]
    who = escape(f"{state['display_name']} ({state['persona']}@{state['release'] or 'base'})")
    down = "".join(f"\n[red]{escape(part)}[/] {escape(why)}" for part, why in state["down"].items())
    ready = "can talk" if state["ready"] else f"cannot talk: {', '.join(state['reasons'])}"
    up_s = int(time.time() - state["started_at"])
    return f"[bold]{who}[/]  [{colour}]{state['state']}[/]  {ready}  engine {state['engine']}  up {up_s} s{down}"


def _going_on(now: Sample) -> Table:
    table = _table("reply", "answers", "stage", "age", "said")
    for thought in now.state["thoughts"]:
        speaks = "* " if thought["reply_id"] == now.state["speaking"] else "  "
        answers = f"{thought['source']}/{thought['message_id']}" if thought["message_id"] else "nobody"
        cells = (speaks + thought["reply_id"], escape(answers), thought["stage"])
        table.add_row(*cells, f"{thought['age_s']:.1f} s", str(thought["sentences"]))
    if not now.state["thoughts"]:
        table.add_row("  no reply on its way", "", "", "", "")
    return table


def _queues(now: Sample) -> Table:
    table = _table("queue", "waiting", "oldest")
    for name, queue in now.state["queues"].items():
        table.add_row(name, str(queue["waiting"]), f"{queue['oldest_s']:.1f} s")
    return table


def _latency(now: Sample) -> Table:
    table = _table("since the message", "replies", "mean", "half within", "95 % within")
    for stage in STAGES:
        count = now.figure("vtb_stage_seconds_count", stage=stage)
        if count:
            mean = now.figure("vtb_stage_seconds_sum", stage=stage) / count
            cells = (f"{int(count)}", f"{mean:.2f} s", *(_within(now, stage, count, share) for share in (0.5, 0.95)))
            table.add_row(stage, *cells)
    return table


def _within(now: Sample, stage: str, count: float, share: float) -> str:
    """The bucket's bound that this share of the replies did not pass."""
    bounds = sorted(
        (float(dict(labels)["le"]), value)
        for (name, labels), value in now.figures.items()
        if name == "vtb_stage_seconds_bucket" and dict(labels)["stage"] == stage
    )
    found = next(bound for bound, value in bounds if value >= share * count)
    return f"{found:g} s"


def _machine(now: Sample, before: Sample | None) -> Table:
    table = _table("engine", "", "memory", "")
    words = now.figure("vtb_engine_tokens_total", kind="completion")
    rate = f"{_rate(now, before, words):.1f} tokens/s" if before is not None else f"{int(words)} tokens"
    use = {what: now.figure("vtb_engine_use", what=what) for what in ("slots", "waiting", "kv_tokens", "loras")}
    room = {what: now.figure("vtb_engine_room", what=what) for what in ("slots", "kv_tokens", "loras")}
    restarts = {child: now.figure("vtb_child_restarts_total", child=child) for child in ("engine", "classifier")}
    resident = {
        name: f"{now.figure('vtb_process_resident_bytes', process=name) / MIB:.0f} MiB"
        for name in ("daemon", "engine", "classifier")
    }
    gpu = now.figure("vtb_gpu_memory_bytes", what="total")
    left = [
        ("words", rate),
        ("slots", f"{use['slots']:.0f} of {room['slots']:.0f}, {use['waiting']:.0f} waiting"),
        ("KV", f"{use['kv_tokens']:.0f} of {room['kv_tokens']:.0f} tokens"),
        ("loras", f"{use['loras']:.0f} of {room['loras']:.0f}"),
        ("restarts", ", ".join(f"{child} {count:.0f}" for child, count in restarts.items())),
    ]
    used = now.figure("vtb_gpu_memory_bytes", what="used")
    right = [*resident.items(), ("GPU", f"{used / MIB:.0f} of {gpu / MIB:.0f} MiB" if gpu else "none"), ("", "")]
    for (name, value), (process, size) in zip(left, right, strict=True):
        table.add_row(name, value, process, size)
    return table


def _rate(now: Sample, before: Sample, words: float) -> float:
    earlier = before.figure("vtb_engine_tokens_total", kind="completion")
    return max(0.0, words - earlier) / max(now.at_s - before.at_s, 1e-3)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in columns:
        table.add_column(column)
    return table


def _get(url: str, token: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise Refused(f"{url}: no http or https URL")
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - looked at above
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the token is for her alone
    try:
        with direct.open(request, timeout=TIMEOUT_S) as answer:
            body: bytes = answer.read()
            return body
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise Refused(f"{url}: the token may not look; give one with --token") from None
        raise Unavailable(f"{url}: answers {error.code}") from None
    except (OSError, ValueError) as error:
        raise Unavailable(f"{url}: no daemon answers ({error})") from None


def _kept_token() -> str:
    path: Path = state_dir() / FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        raise Refused(f"{path} cannot be read; give a token with --token") from None


@contextmanager
def _keys() -> Iterator[None]:
    """Keys are heard one by one and not shown."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _is_q_pressed(patience_s: float) -> bool:
    """Whether q was pressed within the time, which is waited for otherwise."""
    if not sys.stdin.isatty():
        time.sleep(patience_s)
        return False
    heard, _, _ = select.select([sys.stdin], [], [], patience_s)
    return bool(heard) and sys.stdin.read(1).lower() == "q"
