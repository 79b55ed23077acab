"""What the operator reads on the terminal: the table at the start, what `check` found, problems. It only prints."""

import json as jsonlib
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vtuber_brain.check import Finding
from vtuber_brain.errors import Problem
from vtuber_brain.started import Started

_COLOURS = {"ok": "green", "off": "dim", "open": "yellow", "wrong": "bold red"}


def welcome(started: Started) -> None:
    """Where to chat, where the bus is, which model, and what to type next."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold cyan")
    table.add_column()
    console = Console()
    if (doors := started.doors) is not None:
        # A link that lets in whoever has it is for the eyes before this terminal, not for a log.
        table.add_row("panel", doors.link if console.is_terminal else doors.panel)
        table.add_row("overlay", doors.overlay + ("" if doors.is_voiced else "  once `vtuber-brain voice` runs"))
    table.add_row("chat", started.chat_url or "off")
    table.add_row("bus", f"{started.bus}  topics {started.topics}")
    table.add_row("model", f"{started.model_path} · {_described(started.model)}")
    table.add_row("lora", started.release or "none: the base model speaks")
    table.add_row("classifier", started.classifier)
    table.add_row("transcripts", str(started.transcripts or "off"))
    if started.plugins:
        table.add_row("plugins", ", ".join(started.plugins))
    console.print()
    console.print(f"[bold magenta]{escape(started.persona)}[/] is listening.")
    console.print(table, soft_wrap=True)
    console.print("Talk to her from another terminal: [bold].venv/bin/vtuber-brain chat[/]   Stop her here: ctrl-C\n")


def _described(facts: Mapping[str, Any]) -> str:
    """A worker's facts, or those of servers."""
    where = (
        f"at {', '.join(facts['urls'])}"
        if "urls" in facts
        else f"{facts['parameters'] / 1e6:.0f} M parameters · {facts['dtype']} on {facts['device']}"
    )
    return f"{where} · {facts['num_slots']} replies at once"


def show_cast(listing: Mapping[str, Any]) -> None:
    """One row a persona and release: who is on stage, who is ready, what there is."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("persona", "release", "state"):
        table.add_column(column)
    ready = [(one["persona"], one["release"]) for one in listing["ready"]]
    on_stage = listing["on_stage"]["persona"], listing["on_stage"]["release"]
    for name, release, is_current in _roles(listing):
        states = ["on stage"] if (name, release) == on_stage else []
        states += ["ready"] if (name, release) in ready else []
        states += ["current"] if is_current else []
        table.add_row(escape(name), escape(release or "base"), ", ".join(states))
    console = Console()
    console.print(table)
    console.print(f"{len(ready)} of {listing['max_loras']} places for loras are taken", style="dim")


def show_persona(shown: Mapping[str, Any]) -> None:
    """One persona: each fact a row, each release with how it came to be."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    for key in ("name", "display_name", "language", "lora", "current"):
        table.add_row(key, escape(str(shown[key] or "none")))
    table.add_row("on stage", escape(_release(shown["on_stage"])) if shown["on_stage"] else "no")
    table.add_row("ready", escape(", ".join(map(_release, shown["ready"])) or "none"))
    for release in shown["releases"]:
        manifest = shown["manifests"][release]
        table.add_row("release", escape(f"{release}  {jsonlib.dumps(manifest) if manifest else 'no manifest'}"))
    Console().print(table)


def _roles(listing: Mapping[str, Any]) -> list[tuple[str, str | None, bool]]:
    """Every persona and release worth a row, each once: those in the folders, and those named by path."""
    found: dict[tuple[str, str | None], bool] = {}
    for persona in listing["personas"]:
        found[persona["name"], None] = False
        found |= {(persona["name"], release): release == persona["current"] for release in persona["releases"]}
    for one in [listing["on_stage"], *listing["ready"]]:
        found.setdefault((one["persona"], one["release"]), False)
    return [(name, release, is_current) for (name, release), is_current in found.items()]


def _release(shown: Mapping[str, Any]) -> str:
    return shown["release"] or "base"


def show_findings(found: Iterable[Finding]) -> None:
    """One row a part, wrong ones in red with what to do."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    for finding in found:
        colour = _COLOURS[finding.state]
        table.add_row(f"[{colour}]{finding.state}[/]", f"[bold]{escape(finding.part)}[/]", escape(finding.detail))
    Console().print(table)


def show_problems(problems: Iterable[Problem | str]) -> None:
    """Each problem: where, what, and what to do; on stderr."""
    console = Console(stderr=True)
    for problem in problems:
        console.print(f"[bold red]wrong[/]  {escape(str(problem))}", soft_wrap=True, highlight=False)


def show_verdict(verdict: Mapping[str, Any]) -> None:
    """One judged line: verdict, mood with its probability, toxicity, the text, and every reason."""
    colour = "green" if verdict["verdict"] == "allow" else "red"
    mood, toxicity = verdict["sentiment"] or "?", verdict["toxicity"]
    sure = f"{verdict['scores'][mood]:.2f}" if verdict["scores"] else "    "
    toxic = f"toxic {toxicity:.2f}" if toxicity is not None else ""
    why = f" ({', '.join(verdict['reasons'])})" if verdict["reasons"] else ""
    said = f"{escape(verdict['text'])}{escape(why)}"
    Console(emoji=False).print(f"[{colour}]{verdict['verdict']:5}[/] {mood:8} {sure} {toxic:10}  {said}")
