"""From the message to the player: measured once a reply, and never kept for ever."""

from dataclasses import replace

from tests.support.scripted import message
from vtuber_brain.messages import Utterance
from vtuber_brain.playback import MAX_REPLIES, PlaybackTimes
from vtuber_brain.runtime.clock import now_s
from vtuber_brain.runtime.metrics import Metrics


def said(reply_id, seq=0, *, ago_s=2.0):
    asked = replace(message("Hello!"), received_s=now_s() - ago_s)
    return Utterance(reply_id, seq, "Hi.", None, None, "en", False, asked, 0.0, "mori", None)


def count(metrics, stage):
    return metrics.registry.get_sample_value("vtb_stage_seconds_count", {"stage": stage}) or 0


async def test_the_first_sentence_s_beginning_counts_once():
    metrics = Metrics()
    times = PlaybackTimes(metrics)
    await times.emit(said("a"))
    await times.emit(said("a", 1))
    for seq, state in [(1, "started"), (0, "finished"), (0, "started"), (0, "started"), (0, "skipped")]:
        times.heard("a", seq, state)
    times.heard("unknown", 0, "started")
    assert count(metrics, "playback") == count(metrics, "published") == 1
    assert 2.0 <= metrics.registry.get_sample_value("vtb_stage_seconds_sum", {"stage": "playback"}) < 3.0


async def test_where_no_player_tells_anything_only_the_latest_are_kept():
    metrics = Metrics()
    times = PlaybackTimes(metrics)
    for n in range(MAX_REPLIES + 5):
        await times.emit(said(f"r{n}"))
    times.heard("r0", 0, "started")
    times.heard(f"r{MAX_REPLIES + 4}", 0, "started")
    assert count(metrics, "playback") == 1
