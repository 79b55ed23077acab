"""The last minutes in figures: differences per second, medians of what ended, a bounded past."""

from vtuber_brain.panel.figures import EVERY_S, MAX_SAMPLES, Figures
from vtuber_brain.runtime.metrics import Metrics


def test_a_sample_tells_what_came_since_the_last_and_how_long_answers_took():
    metrics = Metrics()
    metrics.received.labels("twitch").inc(100)
    figures = Figures(metrics.registry)
    metrics.received.labels("twitch").inc(30)
    metrics.received.labels("websocket").inc(20)
    metrics.dropped.labels("inbox_full").inc(5)
    metrics.stage.labels("playback").observe(0.4)
    metrics.stage.labels("judged").observe(9)
    figures.sample(10.0, [{"floor": 100.0, "ended": 300.0}, {"floor": 300.0}, {"floor": 200.0}])
    (sample,) = figures.samples()
    assert (sample["received"], sample["dropped"]) == (50 / EVERY_S, 5 / EVERY_S)
    assert (sample["floor"], sample["ended"], sample["first_token"], sample["playback"]) == (200, 300, None, 400)
    figures.sample(15.0, [])
    assert (figures.samples()[-1]["received"], figures.samples()[-1]["floor"]) == (0, None)


def test_only_so_many_are_kept():
    figures = Figures(Metrics().registry)
    for n in range(MAX_SAMPLES + 7):
        figures.sample(float(n), [])
    assert len(figures.samples()) == MAX_SAMPLES
    assert figures.num_taken == MAX_SAMPLES + 7
