"""What a night begins with: nobody else at it, no stream on air, which streams have ended, what is current."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ConfigError, Problem, Unavailable
from vtuber_brain.night_sections import TrainSettings
from vtuber_brain.nights import LOCK, NIGHTS
from vtuber_brain.releases.store import Release, ReleaseStore
from vtuber_brain.retrain.journal import Entry, last_ended
from vtuber_brain.retrain.progress import OnProgress, Told
from vtuber_brain.retrain.task import Task
from vtuber_brain.runtime.lease import LIVE, ON_AIR, Holder, Taken, held, holder
from vtuber_brain.transcripts.past import stream_ids


@dataclass(frozen=True, slots=True)
class Plan:
    """`streams` have ended and hold turns of hers, `new` among them since the last night; `parent` is current now.

    `live` is on air all the same, and `forced` says why that is no matter.
    """

    persona: str
    streams: tuple[int, ...]
    new: tuple[int, ...]
    parent: Release | None
    live: Holder | None = None
    forced: str | None = None


@contextlib.contextmanager
def alone(state: Path, persona: str) -> Iterator[None]:
    """Be the only night of the state folder within the block. Raises Unavailable that names the other one."""
    try:
        with held(state / LOCK, f"the retrain of {persona}"):
            yield
    except Taken as taken:
        raise Unavailable(f"another night is at work: {taken.holder}. Wait for it, or end it") from None


def nights_of(state: Path, persona: str) -> Path:
    """The folder of a persona's nights."""
    return state / NIGHTS / persona


def make_plan(
    transcripts: Path | None, persona: str, store: ReleaseStore, nights: Path, *, force: str | None = None
) -> Plan:
    """Look what there is; `transcripts` None: none are kept. `force` is the reason for training beside a live stream.

    Raises Unavailable while a stream is live and nobody forces it, and ConfigError for files that cannot be read.
    """
    live = _on_air(transcripts)
    if not force:
        check_air(transcripts)
    there = stream_ids(transcripts, persona) if transcripts is not None and transcripts.is_file() else []
    # While a daemon runs, asleep or not, a stream without an end may be its own; else it ended by a crash.
    runs = transcripts is not None and holder(transcripts.with_name(LIVE)) is not None
    ended = [stream for stream, ended_at in there if ended_at is not None or not runs]
    before = learnt_before(nights)
    return Plan(
        persona=persona,
        streams=tuple(ended),
        new=tuple(stream for stream in ended if stream not in before),
        parent=store.current(persona),
        live=live,
        forced=force,
    )


def check_air(transcripts: Path | None) -> None:
    """Raises Unavailable while a stream is live."""
    if (live := _on_air(transcripts)) is not None:
        raise Unavailable(f"a stream is live: {live}. Wait for its end, or go on all the same: --while-live")


def making_way(task: Task) -> OnProgress:
    """What is told of the training, and at each update a look at the air: it makes way for a stream that begins.

    What is told raises Unavailable then; what was trained until the last checkpoint stays.
    """

    def told(one: Told) -> None:
        task.on_progress(one)
        if not task.while_live:
            check_air(task.transcripts)

    return told


def check_servable(settings: TrainSettings, configure: Configure) -> None:
    """Raises ConfigError for settings whose lora the daemon could not load, before anything is trained by them."""
    if settings.method == "full":
        fix = "Leave it at lora, or make one with: vtuber-brain retrain --full"
        raise ConfigError([Problem("retrain.train.method", "full makes a model of its own, which is no release", fix)])
    if settings.rank > configure.max_lora_rank:
        what = f"{settings.rank} is over engine.max_lora_rank ({configure.max_lora_rank}): she could not load it"
        raise ConfigError([Problem("retrain.train.rank", what, "Lower it, or raise engine.max_lora_rank")])


def parent_of(current: Release | None, planned: Entry | None) -> str | None:
    """What a night of the plan `planned` (None: it has none yet) is measured against, by name.

    That is what is current, but for the night's own release, which a kill right after the pointer moved leaves so.
    """
    if current is None:
        return None
    if planned is not None and (current.manifest or {}).get("created_at") == planned.at:
        parent: str | None = planned.figures["parent"]
        return parent
    return current.name


def learnt_before(nights: Path) -> frozenset[int]:
    """The streams that the last night, released or rejected, was planned with: its figure `streams`."""
    last = last_ended(nights)
    planned = last.entry("planned") if last is not None else None
    return frozenset(planned.figures.get("streams", ())) if planned is not None else frozenset()


def check_streams(plan: Plan, num_corpus: int) -> None:
    """Raises Unavailable when there is no stream to learn from, and no corpus either."""
    if not plan.streams and not num_corpus and not plan.forced:
        raise Unavailable(f"no stream of {plan.persona} has ended, and there is no corpus")


def check_new(nights: Path, given: str) -> None:
    """Raises Unavailable where the last night that is over was given the same, hashed, and so made the same."""
    last = last_ended(nights)
    ended = last.entry("ended") if last is not None else None
    if last is not None and ended is not None and ended.figures.get("given") == given:
        why = f"nothing is new since the night {last.name}: it learnt from the same rows, by the same settings"
        raise Unavailable(f"{why}. To release what was rejected then: --force REASON")


def _on_air(transcripts: Path | None) -> Holder | None:
    return holder(transcripts.with_name(ON_AIR)) if transcripts is not None else None
