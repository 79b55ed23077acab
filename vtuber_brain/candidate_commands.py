"""`vtuber-brain persona import|approve|refuse|ab|export`: what was trained elsewhere, and what a person decides.

Exit codes: those of `retrain` for `import`; else 0 done, 1 the daemon that runs did not follow, 2 what was asked for is
not there or not right.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vtuber_brain.config import load, state_dir
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.nightly_commands import forced, settings_of, spare_the_machine, task_of, tell_end
from vtuber_brain.release_commands import By, Persona, configured, me, store_of, tell_daemon

if TYPE_CHECKING:
    from vtuber_brain.retrain.measures import Sample

DONE = 0

Config = Annotated[Path | None, Parameter(name="--config", help="The file the daemon was started with.")]
Why = Annotated[str, Parameter(help="Why, for whoever asks later.")]
Release = Annotated[str | None, Parameter(help="The release; else the newest that waits.")]


def import_(
    folder: Path,
    /,
    *,
    persona: Annotated[str, Parameter(help="Whose it is to be; else the persona of the settings.")] = "",
    corpus: Annotated[list[str] | None, Parameter(help="Compare on these too.")] = None,
    force: Annotated[str | None, Parameter(help="Release it whatever the gate says; the reason.")] = None,
    by: By = None,
    while_live: Annotated[bool, Parameter(help="Even if a stream is live.", negative="")] = False,
    config: Config = None,
) -> int:
    """Judge a PEFT directory that was trained elsewhere as a night judges its own, and release it if it passes."""
    from vtuber_brain.retrain.run import take_in

    spare_the_machine()
    settings, whose = settings_of(config, persona)
    task = replace(task_of(settings, whose, corpus or [], forced(force, by)), while_live=while_live)
    return tell_end(settings, task, take_in(task, folder))


def approve(
    release: Release = None, /, *, persona: Persona = None, reason: Why = "", by: By = None, config: Config = None
) -> int:
    """Have a release that waits for a person's word go live, at once where she is on stage."""
    from vtuber_brain.releases import waiting

    settings = load(config)
    whose = persona or configured(settings)
    chosen = waiting.approve(store_of(), whose, release, by or me(), reason)
    _say(f"{whose}: {chosen.name} is current")
    return asyncio.run(tell_daemon(settings, whose, chosen))


def refuse(
    release: Release = None, /, *, persona: Persona = None, reason: Why = "", by: By = None, config: Config = None
) -> None:
    """Have a release that waits for a person's word never go live."""
    from vtuber_brain.releases import waiting

    whose = persona or configured(load(config))
    _say(f"{whose}: {waiting.refuse(store_of(), whose, release, by or me(), reason).name} is refused")


def ab(
    file: Annotated[Path, Parameter(help="What the blind sheet showed at its end; - is standard input.")],
    /,
    *,
    persona: Persona = None,
    night: Annotated[str | None, Parameter(help="The sheet's night; else the last one.")] = None,
    config: Config = None,
) -> None:
    """Say who won on the blind sheet of a night, and how likely so clear a result is by luck."""
    from vtuber_brain.retrain.ab_sheet import read_ab

    whose = persona or configured(load(config))
    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    wins = read_ab(text, _samples(whose, night))
    _say(f"the candidate {wins.candidate}, the current one {wins.current}, neither {wins.same}")
    _say(f"so clear a result comes by luck in {wins.chance:.1%} of such sheets")


def export(
    *,
    merged: Annotated[Path, Parameter(help="The folder to write: a whole model with her lora in its weights.")],
    persona: Persona = None,
    release: Annotated[str | None, Parameter(help="Which of hers; else what she speaks with.")] = None,
    config: Config = None,
) -> None:
    """Write base and lora as one model, for engines that take no loras; `model.path` takes it too."""
    from vtuber_brain.models import local, resolve
    from vtuber_brain.retrain.outputs import export_merged

    settings, whose = settings_of(config, persona or "")
    base = local(resolve(settings.model.path), settings.model.revision)
    chosen = store_of().find(whose.name, release) if release is not None else store_of().current(whose.name)
    lora = chosen.path if chosen is not None else whose.lora
    if lora is None:
        fix = "Name a release of hers: --release R"
        raise ConfigError([Problem(whose.name, "she speaks with the base model, and has no lora to merge", fix)])
    export_merged(base, lora, merged)
    _say(f"written to {merged}; speak with it: model.path = {str(merged)!r}")


def _samples(persona: str, night: str | None) -> "tuple[Sample, ...]":
    """Those of a night that is over."""
    from vtuber_brain.retrain.journal import Journal, last_ended
    from vtuber_brain.retrain.plan import nights_of
    from vtuber_brain.retrain.stored import unpacked_measured

    root = nights_of(state_dir(), persona)
    found = last_ended(root) if night is None else Journal(root / night) if (root / night).is_dir() else None
    if found is None or not found.is_over:
        what = f"the night {night} is not there or not over" if night is not None else "no night of hers has ended yet"
        raise ConfigError([Problem(persona, what, f"See the folders in {root}")])
    return unpacked_measured(found.path("evaluated", "measured.json").read_bytes()).samples


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
