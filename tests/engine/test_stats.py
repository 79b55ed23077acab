"""What the worker tells of itself, and what the daemon makes of it when workers come and go."""

from tests.support.families import save_model
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.gauges import EngineGauges
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.stats import Tally
from vtuber_brain.engine.wire import Configure, Generate, Stats
from vtuber_brain.runtime.metrics import Metrics


def test_tokens_slots_and_cache_are_those_of_the_requests(tmp_path):
    shape = Configure(model=str(save_model("llama", tmp_path)), dtype="model", threads=1, num_slots=2, context=64)
    core = Core(load_runner(shape), None, shape)
    tally = Tally(core)
    for n in range(3):
        core.add(Generate(str(n), token_ids=tuple(range(1, 11)), max_tokens=5, ignore_eos=True))
    assert tally.report().num_waiting == 3
    most = Stats()
    while core.busy:
        tally.step(core.step())
        told = tally.report()
        most = max(most, told, key=lambda one: one.kv_running_tokens)
    assert (told.completion_tokens, told.prompt_tokens) == (15, 30)
    assert 0 < told.cached_tokens < 30
    assert (told.num_running, told.num_waiting, told.kv_running_tokens) == (0, 0, 0)
    assert most.num_running == most.num_slots == 2
    assert 20 < most.kv_running_tokens <= most.kv_tokens <= told.kv_capacity == 128
    assert told.kv_bytes == core.runner.cache.num_bytes > 0
    assert told.num_steps > 5


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_counts_go_on_when_a_worker_is_started_again_and_its_room_is_empty():
    metrics = Metrics()
    gauges = EngineGauges(metrics)
    gauges.take(Stats(completion_tokens=10, num_steps=4, num_running=2, kv_tokens=50))
    gauges.take(Stats(completion_tokens=25, num_steps=9, num_running=1, kv_tokens=70))
    gauges.restarted()
    assert value(metrics, "vtb_engine_use", what="slots") == value(metrics, "vtb_engine_use", what="kv_tokens") == 0
    gauges.take(Stats(completion_tokens=5, num_steps=2))
    assert value(metrics, "vtb_engine_tokens_total", kind="completion") == 30
    assert value(metrics, "vtb_engine_steps_total") == 11
