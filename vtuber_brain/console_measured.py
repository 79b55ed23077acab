"""How an evaluation of models looks on a terminal, and as JSON."""

import math
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vtuber_brain.retrain.measures import Measured
from vtuber_brain.retrain.report import SCORES, figure


def show_measured(measured: Measured, *, show_text: bool) -> None:
    """Every figure of every contestant in a table; the sample replies below it when asked for."""
    console = Console(emoji=False)
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("")
    for one in measured.figures:
        table.add_column(escape(one.name), justify="right")
    for name, (path, form) in SCORES.items():
        values = [figure(one, path) for one in measured.figures]
        if any(value is not None for value in values):
            table.add_row(name, *(form.format(value) if value is not None else "-" for value in values))
    console.print(table)
    for note in measured.notes:
        console.print(note, style="dim", markup=False)
    for sample in measured.samples if show_text else ():
        console.print(f"\n{sample.prompt}", style="bold", markup=False, highlight=False)
        for who, reply in sample.replies.items():
            console.print(f"  {who}: {reply}", markup=False, highlight=False)


def as_json(measured: Measured, *, show_text: bool) -> dict[str, Any]:
    """The same in JSON's types; a number that is not finite is null. Without `show_text` no reply stands in it."""
    table = asdict(measured)
    if not show_text:
        table["samples"] = []
        for one in table["figures"]:
            for part, key in (("safety", "worst"), ("memorised", "examples"), ("style", "phrases")):
                if one[part] is not None:
                    one[part][key] = []
    plain: dict[str, Any] = _finite(table)
    return plain


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
