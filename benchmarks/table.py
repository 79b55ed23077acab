"""A measured table, and the page they make together."""

import importlib.metadata
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

DOCS = Path(__file__).parent.parent / "docs"
VERSIONS = ("torch", "transformers", "peft", "websockets", "aiomqtt", "amqtt")


@dataclass(slots=True)
class Table:
    """Rows of strings under a heading, with what was done to get them."""

    title: str
    how: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The section of the page."""
        lines = [f"## {self.title}", "", self.how, "", _row(self.columns), _row(["---"] * len(self.columns))]
        lines += [_row(row) for row in self.rows]
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)])


def write_page(tables: list[Table], command: str, page: Path) -> None:
    """Replace a page of measured tables."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name).partition('+')[0]}" for name in VERSIONS)
    head = [
        "# Benchmarks",
        "",
        f"Written by `{command}`, a table anew by `python -m benchmarks PART --page`; every ratio is against a peer "
        "measured in the same run on the same machine.",
        "",
        f"- machine: {_machine()}",
        f"- versions: Python {platform.python_version()}, {versions}",
        f"- date: {time.strftime('%Y-%m-%d')}",
        f"- command: `{command}`",
        "",
    ]
    page.write_text("\n".join(head) + "\n" + "\n".join(table.markdown() for table in tables), encoding="utf-8")


def renew_page(table: Table, page: Path) -> None:
    """Put a table in the place of the one of its title, or at the end."""
    head, *sections = page.read_text(encoding="utf-8").split("\n## ")
    sections = [f"## {section.strip()}\n" for section in sections]
    places = [number for number, section in enumerate(sections) if section.startswith(f"## {table.title}\n")]
    place = places[0] if places else len(sections)
    sections[place : place + 1] = [table.markdown().strip() + "\n"]
    page.write_text("\n".join([head.rstrip() + "\n", *sections]), encoding="utf-8")


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` (0..1) of the sorted values lie, nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _machine() -> str:
    model, flags = "unknown CPU", ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
        if line.startswith("flags"):
            flags = line
    fast = [name for name in ("avx512_bf16", "amx_bf16") if name in flags]
    return f"{os.cpu_count()} cores, {model} ({', '.join(fast) or 'no fast bf16'}), {_gpu()}"


def _gpu() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
