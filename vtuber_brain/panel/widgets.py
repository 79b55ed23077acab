"""The panel's own components: Vue files in static/, driven from here by props and methods. They show text as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nicegui.element import Element

STATIC = Path(__file__).parent / "static"


class ChatList(Element, component=STATIC / "chat_list.js"):
    """The messages; at most `max_rows` are kept. `server_now`: Unix seconds, for ages that do not hang on its clock."""

    def __init__(self, words: Mapping[str, str], max_rows: int, server_now: float) -> None:
        super().__init__()
        self._props |= {"words": dict(words), "max": max_rows, "server_now": server_now}

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show rows of the board, new ones or those that changed."""
        self.run_method("add", rows)


class Speech(Element, component=STATIC / "speech.js"):
    """What she thinks, says and said; emits `rate` {id, rating} and `edit` {id}."""

    def __init__(self, words: Mapping[str, str], max_replies: int, *, may_rate: bool, may_edit: bool) -> None:
        super().__init__()
        self._props |= {"words": dict(words), "max": max_replies, "may_rate": may_rate, "may_edit": may_edit}

    def add(self, replies: Sequence[Mapping[str, Any]]) -> None:
        """Show replies of the board, new ones or those that changed."""
        self.run_method("add", replies)

    def think(self, thoughts: Sequence[Mapping[str, Any]]) -> None:
        """Show these thoughts and no others."""
        self.run_method("think", thoughts)


class HeldList(Element, component=STATIC / "held_list.js"):
    """What waits for a decision; emits `decide` {id, source, allow}."""

    def __init__(self, words: Mapping[str, str]) -> None:
        super().__init__()
        self._props |= {"words": dict(words), "held": []}

    def show(self, held: Sequence[Mapping[str, Any]]) -> None:
        """Show these messages, as models.HeldMessage."""
        self._props["held"] = held
        self.update()


class Lines(Element, component=STATIC / "lines.js"):
    """A line chart."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._props |= {"title": title, "series": [], "at": []}

    def show(self, at: Sequence[float], series: Mapping[str, tuple[str, Sequence[float | None]]]) -> None:
        """`series` by name: its label and a value a moment of `at` (Unix seconds)."""
        shown = [{"name": name, "label": label, "values": values} for name, (label, values) in series.items()]
        self._props |= {"at": at, "series": shown}
        self.update()


class OverlayFrame(Element, component=STATIC / "overlay_frame.js"):
    """Another page as a whole, as if it were as large as a scene. `title` names it to those who do not see it."""

    def __init__(self, src: str, title: str) -> None:
        super().__init__()
        self._props |= {"src": src, "title": title}
