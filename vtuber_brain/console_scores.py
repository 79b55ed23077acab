"""How an evaluation of the classifier, or of two of them, looks on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vtuber_brain.retrain.classifier_comparison import Compared, Hard, kinds
from vtuber_brain.retrain.evaluation import Evaluation, Head, Miss, Threshold


def show_evaluation(found: Evaluation) -> None:
    """Each head that was scored, the sets of the file, and the hardest errors."""
    console = Console(emoji=False)  # a set is named with colons
    if found.sentiment is not None:
        _show_head(console, "sentiment", found.sentiment)
        _show_sets(console, found)
    if found.toxicity is not None and found.threshold is not None:
        _show_head(console, "toxicity", found.toxicity)
        console.print(_about(found.threshold), highlight=False)
    if found.sentiment is None and found.toxicity is None:
        console.print("The model has no head for the labels of this file.")
    if found.hardest:
        console.print(_misses(found.hardest))


def show_compared(found: Compared) -> None:
    """The new classifier beside the one in use: its parts, the hard sentences by kind, and those it reads otherwise."""
    console = Console(emoji=False)
    parts = _table("held out", "rows", "macro-F1 before", "now", "put right", "lost", "p")
    for part in found.parts:
        scores = (f"{part.before:.3f}", f"{part.after:.3f}", str(part.gained), str(part.lost), f"{part.p:.2g}")
        parts.add_row(part.name, str(part.rows), *scores)
    console.print(parts)
    hard = _table("hard sentences", "rows", "right before", "now")
    for kind, counts in kinds(found.hard).items():
        hard.add_row(escape(kind), *map(str, counts))
    console.print(hard)
    if changed := [one for one in found.hard if one.before != one.after]:
        console.print(_changed(changed))


def _changed(hard: Sequence[Hard]) -> Table:
    table = _table("read otherwise", "is", "before", "now")
    for one in hard:
        table.add_row(escape(one.text), one.truth, one.before, one.after)
    return table


def _show_head(console: Console, name: str, head: Head) -> None:
    console.print(
        f"\n[bold]{name}[/]  {head.rows} rows  accuracy {head.accuracy:.3f}  macro-F1 {head.macro_f1:.3f}  "
        f"calibration error {head.calibration_error:.3f}",
        highlight=False,
    )
    labels = _table("label", "rows", "precision", "recall", "F1", *(f"said {label}" for label in head.labels))
    for (label, scores), row in zip(head.labels.items(), head.confusion, strict=True):
        shares = (f"{value:.3f}" for value in (scores.precision, scores.recall, scores.f1))
        labels.add_row(label, str(scores.rows), *shares, *map(str, row))
    console.print(labels)
    bins = _table("confidence from", "rows", "mean", "right")
    for one in head.reliability:
        bins.add_row(f"{one.above:.2f}", str(one.rows), f"{one.confidence:.3f}", f"{one.accuracy:.3f}")
    console.print(bins)


def _show_sets(console: Console, found: Evaluation) -> None:
    if len(found.sets) < 2:
        return
    sets = _table("set", "rows", "accuracy", "macro-F1")
    for name, part in found.sets.items():
        sets.add_row(escape(name), str(part.rows), f"{part.accuracy:.3f}", f"{part.macro_f1:.3f}")
    console.print(sets)


def _about(threshold: Threshold) -> str:
    return (
        f"toxic from {threshold.used:.2f} on (sentiment.toxic_threshold); "
        f"the best F1, {threshold.best_f1:.3f}, is from {threshold.best:.2f} on"
    )


def _misses(misses: Sequence[Miss]) -> Table:
    table = _table("hardest: line", "is", "said", "left for it", "text")
    for miss in misses:
        table.add_row(str(miss.line), miss.truth, miss.said, f"{miss.left:.3f}", escape(miss.text or "--show-text"))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for column in columns:
        table.add_column(column)
    return table
