"""The command line. Each command imports what it needs when it runs, so `--help` is quick and `chat` needs no torch.

Exit codes: 0 done; 1 it went wrong while running; 2 the settings, a file or an argument is wrong; 3 nothing answers at
the other end or cannot be had at present; 130 interrupted.
"""

import asyncio
import json as jsonlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from vtuber_brain.errors import BrainError, ConfigError, RecordError, Refused, Unavailable
from vtuber_brain.runtime.child import QUIET_WAITING

if TYPE_CHECKING:
    from vtuber_brain.chat.ledger import Summary

DONE, FAILED, WRONG, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 130
CHAT_URL = "ws://127.0.0.1:8766/chat"

app = App(name="vtuber-brain", help="The brain of a VTuber as a service.")
models = App(name="models", help="The bundled models.")
app.command("vtuber_brain.panel_commands:panel", name="panel", help="A link into the operator's panel.")
app.command("vtuber_brain.top:top", name="top", help="How she is, live, from the control API.")
app.command("vtuber_brain.twitch_commands:twitch", name="twitch", help="The accounts in Twitch's chat.")
app.command("vtuber_brain.voice_commands:voice", name="voice", help="Speak what she says.")
app.command("vtuber_brain.filter_commands:filter_", name="filter", help="What is held for a human, and the lists.")
app.command("vtuber_brain.stage:persona", name="persona", help="Who is on stage in the running daemon.")
app.command("vtuber_brain.nightly_commands:retrain", name="retrain", help="Train anew, and say how good it is.")
app.command("vtuber_brain.night:evaluate", name="evaluate", help="Say how good what was trained is.")
app.command("vtuber_brain.transcript_commands:transcripts", name="transcripts", help="What was heard and said.")
for name, function, what in (
    ("install-service", "install_service", "Put the systemd units, a config and the folders in place."),
    ("uninstall-service", "uninstall_service", "Remove the systemd units."),
    ("off-air", "off_air", "Whether nobody is live; for the timer of the night."),
    ("backup", "backup", "Save the state into one file, while she runs."),
    ("restore", "restore", "Bring a saved state back."),
):
    app.command(f"vtuber_brain.service_commands:{function}", name=name, help=what)
for name, what in (
    ("mute", "Silence her at once."),
    ("unmute", "Let her speak again."),
    ("skip", "Cut what she is saying."),
    ("say", "Have her say these words."),
    ("sleep", "End the stream; the night may train."),
    ("wake", "Begin the next stream."),
):
    app.command(f"vtuber_brain.speech_commands:{name}", name=name, help=what)
app.command(models)

Config = Annotated[Path | None, Parameter(name="--config", help="The TOML file of settings; else all defaults.")]
Url = Annotated[str, Parameter(name="--url", help="The daemon's chat.")]
Token = Annotated[str | None, Parameter(name="--token", env_var="VTB_WEBSOCKET__TOKEN", help="The chat's token.")]
In = Annotated[Path, Parameter(name="--in", help="The file to read, JSON lines.")]


@app.command
def run(*, config: Config = None) -> None:
    """Run the daemon until it is told to stop (SIGTERM, ctrl-C). SIGHUP reloads persona, lists and thresholds."""
    from vtuber_brain import app as daemon
    from vtuber_brain.config import secrets
    from vtuber_brain.panel_commands import opened
    from vtuber_brain.plan import make_plan
    from vtuber_brain.runtime import logs

    plan = make_plan(config)
    logs.setup(plan.settings.logs.level, plan.settings.logs.format, secrets(plan.settings))
    logs.take_over()
    asyncio.run(daemon.run(plan, config, opened))


@app.command
def check(*, config: Config = None) -> int:
    """Say what `run` would start and everything that is wrong. Exit 0 when it could start, else 2."""
    from vtuber_brain.check import findings
    from vtuber_brain.console import show_findings
    from vtuber_brain.voice_commands import findings as of_the_voice

    found = [*asyncio.run(findings(config)), *of_the_voice(config)]
    show_findings(found)
    return WRONG if any(finding.state == "wrong" for finding in found) else DONE


@app.command
def chat(
    *, url: Url = CHAT_URL, token: Token = None, name: str = "guest", persona: str = "mori", why: bool = False
) -> None:
    """Chat with her as a viewer: type, see the verdict and the mood, read her reply. /help lists the commands.

    With --why you see the fate of everybody's messages, and what counted for the one that is answered.
    """
    from vtuber_brain.chat.viewer import view

    asyncio.run(view(url, token, name, persona=persona, why=why))


@app.command
def replay(
    file: Path,
    *,
    url: Url = CHAT_URL,
    token: Token = None,
    speed: float = 1.0,
    loop: bool = False,
    json: bool = False,
    virtual: Annotated[bool, Parameter(help="Without a daemon or a model, under a clock of its own.")] = False,
    seed: Annotated[int, Parameter(help="With --virtual: what is left to chance.")] = 0,
    answers: Annotated[Path | None, Parameter(help="With --virtual: what she may say, one answer a line.")] = None,
    decisions: Annotated[str, Parameter(help="With --virtual: the file for every decision; - is stdout.")] = "-",
    config: Config = None,
) -> None:
    """Feed a recorded stream into the running daemon and say what became of every message; ctrl-C ends it early.

    With --virtual it is lived through in a moment, and every decision told; the same seed gives the same ones.
    """
    from rich.console import Console

    from vtuber_brain.chat.ledger import Summary, table
    from vtuber_brain.chat.replay import replay as play

    async def until_interrupted() -> Summary:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        return await play(url, token, file, speed=speed, loop=loop, stop=stop)

    summary = _rehearse(file, seed, answers, decisions, config) if virtual else asyncio.run(until_interrupted())
    if json:
        _say(jsonlib.dumps(asdict(summary)))
    else:
        Console(stderr=virtual and decisions == "-").print(table(summary))


@app.command
def generate(
    *,
    model: Annotated[str, Parameter(help="bundled:NAME, a directory, or a hub id.")],
    in_: In,
    out: Annotated[Path, Parameter(help="The file to write, one answer a line.")],
    dtype: Annotated[
        Literal["auto", "model", "bf16", "fp16", "fp32"], Parameter(help="model: as the weights were saved.")
    ] = "model",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    slots: Annotated[int, Parameter(help="Requests computed at once.")] = 8,
    threads: Annotated[int, Parameter(help="CPU threads; 0: all cores.")] = 0,
) -> None:
    """Answer a file of requests with the engine, all batched. A line that fails is answered by its error."""
    from vtuber_brain.engine.offline import generate_file
    from vtuber_brain.engine.wire import Configure
    from vtuber_brain.models import resolve

    configure = Configure(resolve(model), dtype=dtype, device=device, num_slots=slots, threads=threads)
    answered, failed = generate_file(in_, out, configure)
    _tell(f"{answered} answered, {failed} failed: {out}")


@app.command
def classify(
    *,
    in_: Annotated[Path | None, Parameter(name="--in", help="Lines of {text}; else standard input.")] = None,
    json: Annotated[bool, Parameter(help="One JSON object a line instead of columns.")] = False,
    config: Config = None,
) -> None:
    """Judge lines of {"text"}: mood, verdict and reasons of each."""
    from vtuber_brain.console import show_verdict
    from vtuber_brain.judging import verdicts

    async def judge() -> None:
        with _lines(in_) as (name, lines):
            async for verdict in verdicts(lines, name, config):
                _say(jsonlib.dumps(verdict, ensure_ascii=False)) if json else show_verdict(verdict)

    asyncio.run(judge())


@models.command(name="fetch")
def models_fetch(*names: str) -> None:
    """Fetch the bundled models into the cache (VTB_CACHE), all or those named; what is there already costs nothing."""
    from vtuber_brain.models import CATALOGUE, fetch

    for name in names or CATALOGUE:
        fetch(name, _tell)


@models.command(name="list")
def models_list() -> None:
    """The bundled models, and where each is."""
    from vtuber_brain.models import CATALOGUE, resolve

    for name in CATALOGUE:
        try:
            _say(f"bundled:{name}  {resolve(f'bundled:{name}')}")
        except ConfigError:
            _say(f"bundled:{name}  not fetched")


def main() -> None:
    """Run one command; what goes wrong on purpose becomes a line on stderr and an exit code.

    What it writes, and what its children write, is its owner's alone: viewers' words and tokens are in most of it.
    """
    os.umask(0o077)
    for name, value in QUIET_WAITING.items():
        os.environ.setdefault(name, value)
    try:
        sys.exit(app())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (BrainError, OSError, BaseExceptionGroup) as error:
        sys.exit(_complain(error))


def _complain(error: BaseException) -> int:
    """Print what went wrong and give the exit code; what nobody expected is raised on."""
    from vtuber_brain.console import show_problems

    leaves = list(_leaves(error))
    if not all(isinstance(leaf, BrainError | OSError) for leaf in leaves):
        raise error
    for leaf in leaves:
        show_problems(leaf.problems if isinstance(leaf, ConfigError) else [str(leaf)])
    if any(isinstance(leaf, ConfigError | RecordError | Refused | OSError) for leaf in leaves):
        return WRONG
    return UNAVAILABLE if any(isinstance(leaf, Unavailable) for leaf in leaves) else FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _rehearse(file: Path, seed: int, answers: Path | None, decisions: str, config: Path | None) -> "Summary":
    from vtuber_brain.config import load
    from vtuber_brain.engine.scripted import ANSWERS, read_answers
    from vtuber_brain.rehearsal import rehearse_file
    from vtuber_brain.runtime import logs

    logs.setup("warning", "auto")
    settings, said = load(config), read_answers(answers) if answers is not None else ANSWERS
    with nullcontext(sys.stdout) if decisions == "-" else Path(decisions).open("w", encoding="utf-8") as out:
        return rehearse_file(file, settings, seed=seed, answers=said, out=out)


@contextmanager
def _lines(path: Path | None) -> Iterator[tuple[str, Iterable[str]]]:
    """A file's lines, or standard input's, with the name to use in complaints."""
    if path is None:
        yield "standard input", sys.stdin
        return
    with path.open(encoding="utf-8") as file:
        yield str(path), file


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress is for people, answers are for pipes


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
