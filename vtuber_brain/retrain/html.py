"""Pages of our own without a template: elements that escape whatever is put into them, and plots as inline SVG.

Viewers' words are data: only what was made here is markup.
"""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 560, 200, 46, 24, 10, 10
NUM_TICKS = 4


class Markup(str):
    """Text that is markup already; nothing else is let through as it is."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot; points that are not finite are left out. `tone` is a number of the page's colours, from 1."""

    name: str
    points: Points
    tone: int = 1


def element(tag: str, *inside: object, **attributes: object) -> Markup:
    """`<tag>` around everything inside, all of it escaped but Markup; `class_` is class, `data_x` data-x.

    An attribute that is None or False is left out, one that is True stands without a value.
    """
    given = []
    for name, value in attributes.items():
        key = name.rstrip("_").replace("_", "-")
        if value is True:
            given.append(f" {key}")
        elif value is not None and value is not False:
            given.append(f' {key}="{html.escape(str(value), quote=True)}"')
    return Markup(f"<{tag}{''.join(given)}>{joined(inside)}</{tag}>")


def joined(parts: Iterable[object]) -> Markup:
    """Everything one after another; None is nothing, lists are opened."""
    made = []
    for part in parts:
        if isinstance(part, Markup):
            made.append(part)
        elif isinstance(part, list | tuple):
            made.append(joined(part))
        elif part is not None:
            made.append(Markup(html.escape(visible(str(part)), quote=True)))
    return Markup("".join(made))


def visible(text: str) -> str:
    """Without what could turn a line around or hide in it: control and direction characters become a box."""
    return "".join("\u25af" if _is_hidden(char) else char for char in text)


def table(head: Sequence[object], rows: Iterable[Sequence[object]], **attributes: object) -> Markup:
    """A table with a heading; cells as for `element`."""
    top = element("tr", [element("th", cell, scope="col") for cell in head])
    body = [element("tr", [element("td", cell) for cell in row]) for row in rows]
    return element("div", element("table", element("thead", top), element("tbody", body)), class_="wide", **attributes)


def plot(series: Sequence[Series], *, across: str, up: str) -> Markup:
    """Lines over a common x, as SVG, with their names; nothing but a word where there are no points."""
    shown = [Series(one.name, _finite(one.points), one.tone) for one in series]
    every = [point for one in shown for point in one.points]
    if len(every) < 2:
        return element("p", "nothing to draw", class_="soft")
    box = _Box(*_range([x for x, _ in every]), *_range([y for _, y in every], pad=0.06))
    lines = [
        element("polyline", points=" ".join(box.at(*point) for point in one.points), class_=f"line tone{one.tone}")
        for one in shown
    ]
    names = [element("span", element("i", class_=f"dot tone{one.tone}"), one.name) for one in shown]
    label = f"{up} over {across}: {', '.join(one.name for one in shown)}"
    drawn = element("svg", box.axes(), lines, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)
    return element("figure", element("figcaption", names, element("small", f"{up}, over {across}")), drawn)


def bars(values: Sequence[tuple[str, float]], form: str = "{:.0f}") -> Markup:
    """A bar for every value, the longest first as given, with its number."""
    most = max((value for _, value in values), default=0.0) or 1.0
    rows = [
        element(
            "div",
            element("span", name, class_="name"),
            element("span", class_="bar", style=f"--share:{max(0.0, value) / most:.4f}"),
            element("span", form.format(value), class_="number"),
            class_="row",
        )
        for name, value in values
    ]
    return element("div", rows, class_="bars")


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    right: float
    low: float
    high: float

    def at(self, x: float, y: float) -> str:
        across = (x - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)
        up = (y - self.low) / (self.high - self.low) * (HEIGHT - BOTTOM - TOP)
        return f"{LEFT + across:.1f},{HEIGHT - BOTTOM - up:.1f}"

    def axes(self) -> list[Markup]:
        made = []
        for n in range(NUM_TICKS + 1):
            value = self.low + (self.high - self.low) * n / NUM_TICKS
            y = self.at(self.left, value).split(",")[1]
            made.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
            made.append(element("text", _tick(value), x=LEFT - 6, y=y, class_="tick up"))
            step = self.left + (self.right - self.left) * n / NUM_TICKS
            x = self.at(step, self.low).split(",")[0]
            made.append(element("text", f"{step:.4g}", x=x, y=HEIGHT - 6, class_="tick"))
        return made


def _finite(points: Points) -> Points:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _range(values: Sequence[float], pad: float = 0.0) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * pad
    below = max(0.0, low - room) if low >= 0 else low - room
    return (below, high + room) if high > low else (low - 0.5, high + 0.5)


def _tick(value: float) -> str:
    return f"{value:.3g}" if value == 0 or abs(value) >= 0.01 else f"{value:.0e}"


def _is_hidden(char: str) -> bool:
    code = ord(char)
    return (
        (code < 32 and char not in "\n\t")
        or 0x7F <= code < 0xA0
        or code in (0x061C, 0x200E, 0x200F, 0xFEFF)
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xD800 <= code <= 0xDFFF
    )
