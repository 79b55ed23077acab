"""The tabs at the right: each draws itself while it is looked at; what is held is counted on its tab at all times."""

from collections.abc import Callable, Mapping
from typing import Protocol

from nicegui import ui
from prometheus_client import CollectorRegistry

from vtuber_brain.control.models import State
from vtuber_brain.panel.held import HeldTab
from vtuber_brain.panel.past import AuditTab, NightTab, RepliesTab
from vtuber_brain.panel.seat import Seat
from vtuber_brain.panel.stage_tab import StageTab
from vtuber_brain.panel.watching import ChartsTab, HealthTab
from vtuber_brain.panel.words_tab import WordsTab

ICONS = {
    "held": "front_hand",
    "stage": "theater_comedy",
    "replies": "rate_review",
    "words": "block",
    "charts": "show_chart",
    "night": "bedtime",
    "health": "favorite",
    "audit": "receipt_long",
}


class Tab(Protocol):
    """What a tab's panel is: built once for a page, drawn at every beat while it is shown."""

    async def draw(self, state: State) -> None:
        """Show what there is now."""
        ...


class Tabs:
    """`draw` with every state."""

    def __init__(self, seat: Seat, registry: CollectorRegistry) -> None:
        self._held_badge = ui.badge("0", color=None)
        made: Mapping[str, Callable[[], Tab]] = {
            "held": lambda: HeldTab(seat),
            "stage": lambda: StageTab(seat),
            "replies": lambda: RepliesTab(seat),
            "words": lambda: WordsTab(seat),
            "charts": lambda: ChartsTab(seat),
            "night": lambda: NightTab(seat),
            "health": lambda: HealthTab(seat, registry),
            "audit": lambda: AuditTab(seat),
        }
        self._tabs: dict[str, Tab] = {}
        with ui.element("section").classes("pane side"):
            with ui.tabs().props("vertical dense no-caps").classes("rail") as self._rail:
                for number, (name, icon) in enumerate(ICONS.items(), 1):
                    tab = ui.tab(name, seat.say[f"tab_{name}"], icon).props(f'data-key="{number}"')
                    if name == "held":
                        self._held_badge.move(tab)
            self._held_badge.props("floating").classes("badge-held")
            with ui.tab_panels(self._rail, value="stage", animated=False, keep_alive=True).classes("tab-panels"):
                for name, make in made.items():
                    with ui.tab_panel(name):
                        self._tabs[name] = make()

    async def draw(self, state: State) -> None:
        """Show what there is now on the tab that is looked at."""
        num_held = state.queues["held"].waiting
        self._held_badge.set_text(str(num_held))
        self._held_badge.set_visibility(num_held > 0)
        await self._tabs[self._rail.value].draw(state)
