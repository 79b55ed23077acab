"""What there is to watch: figures of the last minutes, and which parts work."""

from datetime import UTC, datetime

from nicegui import ui
from prometheus_client import CollectorRegistry

from vtuber_brain.control.models import State
from vtuber_brain.panel.figures import STAGES, resident
from vtuber_brain.panel.seat import Seat
from vtuber_brain.panel.widgets import Lines
from vtuber_brain.runtime.clock import now_s

FLOW = ("received", "dropped", "sentences")
TIMES = (*STAGES, "playback")
MEMORY_S = 5.0


class ChartsTab:
    """Flow and time to answer."""

    def __init__(self, seat: Seat) -> None:
        self._seat, self._num = seat, -1
        self._none = ui.label(seat.say["chart_none"]).classes("quiet")
        self._charts = {names: Lines(seat.say[title]) for title, names in (("chart_flow", FLOW), ("chart_time", TIMES))}

    async def draw(self, _: State) -> None:
        """See Tab."""
        figures = self._seat.studio.figures
        if figures.num_taken == self._num:
            return
        self._num, samples = figures.num_taken, figures.samples()
        at = [sample["at"] or 0.0 for sample in samples]
        for names, chart in self._charts.items():
            series = {name: (self._seat.say[name], [sample[name] for sample in samples]) for name in names}
            chart.show(at, series)
            chart.set_visibility(bool(samples))
        self._none.set_visibility(not samples)


class HealthTab:
    """The parts that are down and why, what waits, what memory is used."""

    def __init__(self, seat: Seat, registry: CollectorRegistry) -> None:
        self._seat, self._registry = seat, registry
        self._shown: object = None
        self._asked_s, self._memory = 0.0, ""
        self._parts = ui.element("div").classes("parts")
        self._facts = ui.element("dl").classes("facts")

    async def draw(self, state: State) -> None:
        """See Tab."""
        if now_s() - self._asked_s > MEMORY_S:
            self._asked_s = now_s()
            self._memory = " · ".join(f"{name} {mb:.0f} MB" for name, mb in resident(self._registry).items() if mb)
        shown = (tuple(state.down.items()), state.engine, state.queues.values(), self._memory)
        if str(shown) != self._shown:
            self._shown = str(shown)
            self._draw_parts(state)
            self._draw_facts(state)

    def _draw_parts(self, state: State) -> None:
        say = self._seat.say
        self._parts.clear()
        with self._parts:
            for part, reason in state.down.items():
                ui.label(say["health_down"].format(part=part, reason=reason)).classes("part down")
            if not state.down:
                ui.label(say["health_well"]).classes("part well")

    def _draw_facts(self, state: State) -> None:
        say = self._seat.say
        started = datetime.fromtimestamp(state.started_at, UTC).astimezone().strftime("%H:%M")
        facts = {
            say["engine"]: state.engine,
            **{
                f"{say['waiting']}: {say[f'queue_{name}']}": f"{queue.waiting} · {queue.oldest_s:.1f} s"
                for name, queue in state.queues.items()
            },
            say["memory"]: self._memory,
        }
        self._facts.clear()
        with self._facts:
            for name, value in facts.items():
                with ui.element("dt"):
                    ui.label(name)
                with ui.element("dd"):
                    ui.label(value)
            with ui.element("dd").classes("span"):
                ui.label(say["running_since"].format(since=started, version=state.version)).classes("hint")
