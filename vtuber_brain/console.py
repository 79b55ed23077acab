"""What the operator reads on the terminal: the table at the start, what `check` found, problems. It only prints."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vtuber_brain.app import Started
from vtuber_brain.check import Finding
from vtuber_brain.errors import Problem

_COLOURS = {"ok": "green", "off": "dim", "wrong": "bold red"}


def welcome(started: Started) -> None:
    """Where to chat, where the bus is, which model, and what to type next."""
    facts = started.model
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold cyan")
    table.add_column()
    table.add_row("chat", started.chat_url or "off")
    table.add_row("bus", f"{started.bus}  topics {started.topics}")
    table.add_row(
        "model",
        f"{started.model_path} · {facts.get('parameters', 0) / 1e6:.0f} M parameters · {facts.get('dtype')} on "
        f"{facts.get('device')} · {facts.get('num_slots')} replies at once",
    )
    table.add_row("classifier", started.classifier)
    table.add_row("transcripts", str(started.transcripts or "off"))
    if started.plugins:
        table.add_row("plugins", ", ".join(started.plugins))
    console = Console()
    console.print()
    console.print(f"[bold magenta]{escape(started.persona)}[/] is listening.")
    console.print(table)
    console.print("Talk to her from another terminal: [bold].venv/bin/vtuber-brain chat[/]   Stop her here: ctrl-C\n")


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
    """One judged line: verdict, mood, reasons, and the text."""
    colour = "green" if verdict["verdict"] == "allow" else "red"
    mood = verdict["sentiment"] or "?"
    why = f" ({', '.join(verdict['reasons'])})" if verdict["reasons"] else ""
    Console().print(f"[{colour}]{verdict['verdict']:5}[/] {mood:8} {escape(verdict['text'])}{escape(why)}")
