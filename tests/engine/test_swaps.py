"""Loras come, change and go while requests run; each request gets what it gets alone under those it began with."""

import json
from concurrent.futures import Future
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from tests.support.families import save_model
from tests.support.loras import save_lora
from vtuber_brain.engine.arrivals import Arrival, Arrivals
from vtuber_brain.engine.core import Core
from vtuber_brain.engine.graphs import DecodeGraphs
from vtuber_brain.engine.load import load_runner
from vtuber_brain.engine.loras import read_lora
from vtuber_brain.engine.offline import generate
from vtuber_brain.engine.wire import Configure, Delta, Failed, Generate, LoraRejected, Sampling
from vtuber_brain.errors import LoraRejected as Rejection
from vtuber_brain.errors import RequestFailed

SHAPE = Configure(
    "",
    dtype="model",
    threads=1,
    num_slots=3,
    num_pinned=1,
    context=64,
    prefill_chunk=16,
    max_waiting=1000,
    max_loras=2,
    max_lora_rank=8,
)
OPENING = tuple(range(10, 34))
PROMPTS = [(*OPENING, *tail) for tail in ((40,), (41, 42), (43, 44, 45), (46,) * 9)]


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory):
    """A base and five loras of different ranks; the first prompt's answer under each of them differs."""
    folder = tmp_path_factory.mktemp("wardrobe")
    base = save_model("llama", folder / "base")
    loras = [save_lora(folder / f"r{rank}", base, seed=rank, rank=rank, strength=0.4) for rank in (2, 4, 8, 3, 6)]
    return base, loras


@pytest.fixture(scope="module")
def alone(wardrobe):
    """What each prompt gets alone under base (None) and under each lora."""
    base, loras = wardrobe
    answers = {}
    for lora in (None, *range(len(loras))):
        folder = str(loras[lora]) if lora is not None else None
        lines = [{"token_ids": prompt, "max_tokens": 8, "ignore_eos": True, "lora": folder} for prompt in PROMPTS]
        configure = Configure(str(base), dtype="model", threads=1, num_slots=1)
        for prompt, answer in zip(PROMPTS, generate(map(json.dumps, lines), configure), strict=True):
            answers[prompt, lora] = answer["token_ids"]
    assert len({tuple(answers[PROMPTS[0], lora]) for lora in (None, *range(5))}) == 6, "the loras say the same"
    return answers


@pytest.fixture(scope="module")
def runner(wardrobe):
    return load_runner(replace(SHAPE, model=str(wardrobe[0])))


@pytest.fixture(scope="module")
def weights(runner, wardrobe):
    return [read_lora(folder, runner.bank.shapes, 8) for folder in wardrobe[1]]


class Stream:
    """Requests to a core, what they were asked under, and what they have got."""

    def __init__(self, runner, lag):
        self.core = Core(runner, None, SHAPE, lag=lag)
        self.worn, self.asked, self.got, self.failed, self.pending = {}, {}, {}, {}, []

    def add(self, prompt, name, pin=None):
        request_id = str(len(self.asked))
        request = Generate(request_id, token_ids=prompt, max_tokens=1 if pin else 8, ignore_eos=True, lora=name)
        try:
            self.core.add(request, pin)
        except RequestFailed as failure:
            assert (failure.code, name in self.worn) == ("unknown_lora", False)
        else:
            self.asked[request_id] = (prompt, self.worn.get(name), 1 if pin else 8)
            self.got[request_id] = []

    def load(self, name, lora, weights):
        """Returns whether the lora is in; if all places are busy it has to wait."""
        try:
            installed = self.core.install(name, weights[lora]) is not None
        except Rejection:
            assert name not in self.worn
            assert len(self.worn) == SHAPE.max_loras
            return
        if installed:
            self.worn[name] = lora

    def drop(self, name):
        self.core.drop(name)
        self.worn.pop(name, None)

    def cancel(self, number):
        if self.asked:
            request_id = str(number % len(self.asked))
            self.core.cancel(request_id)
            prompt, lora, _ = self.asked[request_id]
            self.asked[request_id] = (prompt, lora, len(self.got[request_id]))

    def step(self):
        for event in self.core.step():
            assert not isinstance(event, Failed)
            if isinstance(event, Delta):
                self.got[event.id] += event.token_ids
        self.core.check_integrity()


NAMES = st.sampled_from([None, "mori", "luna", "tala"])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(PROMPTS), NAMES),
        st.tuples(st.just("pin"), st.sampled_from(PROMPTS), NAMES),
        st.tuples(st.just("load"), st.sampled_from(["mori", "luna", "tala"]), st.integers(0, 4)),
        st.tuples(st.just("load"), st.just("mori"), st.integers(0, 4)),
        st.tuples(st.just("drop"), st.sampled_from(["mori", "luna", "tala"])),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("step")),
        st.tuples(st.just("step")),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=ACTIONS, lag=st.integers(0, 1))
def test_any_interleaving_gives_each_request_the_tokens_it_gets_alone(runner, weights, alone, actions, lag):
    stream = Stream(runner, lag)
    for action, *rest in actions:
        match action:
            case "add":
                stream.add(*rest)
            case "pin":
                stream.add(*rest, pin=f"opening of {rest[1]}")
            case "load":
                stream.load(*rest, weights)
            case "drop":
                stream.drop(*rest)
            case "cancel":
                stream.cancel(*rest)
            case "step":
                stream.step()
    while stream.core.busy:
        stream.step()
    for request_id, (prompt, lora, num_tokens) in stream.asked.items():
        assert stream.got[request_id] == alone[prompt, lora][:num_tokens]


def test_a_running_reply_ends_on_the_weights_it_began_with_and_the_next_gets_the_new(runner, weights, alone):
    stream = Stream(runner, 0)
    stream.load("mori", 0, weights)
    stream.add(PROMPTS[0], "mori")
    for _ in range(4):
        stream.step()
    stream.load("mori", 1, weights)
    stream.add(PROMPTS[0], "mori")
    while stream.core.busy:
        stream.step()
    assert stream.got["0"] == alone[PROMPTS[0], 0]
    assert stream.got["1"] == alone[PROMPTS[0], 1]


def test_a_prefix_computed_under_one_lora_is_not_used_under_another_of_the_same_name(runner, weights):
    core = Core(runner, None, SHAPE)
    cached = []
    for number, lora in enumerate((0, 0, 1)):
        core.install("mori", weights[lora])
        core.add(Generate(str(number), token_ids=PROMPTS[0], max_tokens=2, lora="mori"))
        while core.busy:
            cached += [event.usage.cached_tokens for event in core.step() if event.type == "done"]
    assert cached == [0, len(PROMPTS[0]) - 1, 0]


def test_an_id_used_again_gets_nothing_of_the_request_that_was_cancelled(runner, alone):
    core = Core(runner, None, SHAPE, lag=1)
    core.add(Generate("id", token_ids=PROMPTS[0], max_tokens=8, ignore_eos=True))
    for _ in range(3):
        core.step()
    core.cancel("id")
    core.add(Generate("id", token_ids=PROMPTS[2], max_tokens=8, ignore_eos=True))
    got = []
    while core.busy:
        got += [token for event in core.step() if isinstance(event, Delta) for token in event.token_ids]
    assert got == alone[PROMPTS[2], None]


def eager(run):
    """Stands for the capture on a GPU: the same step, computed anew at each replay."""
    run()
    return run


@pytest.mark.parametrize("lag", [0, 1])
def test_captured_steps_with_padded_rows_give_the_same_tokens(runner, weights, alone, lag):
    stream = Stream(runner, lag)
    stream.core._graphs = DecodeGraphs(runner, 3, eager)
    stream.load("mori", 0, weights)
    stream.load("luna", 2, weights)
    for name in ("mori", None, "luna", None, "luna"):
        for prompt in PROMPTS:
            stream.add(prompt, name)
    while stream.core.busy:
        stream.step()
    for request_id, (prompt, lora, num_tokens) in stream.asked.items():
        assert stream.got[request_id] == alone[prompt, lora][:num_tokens]


@pytest.mark.parametrize(
    "sampling", [Sampling(1.0, top_p=0.9, seed=5), Sampling(1.0, 20, presence_penalty=1.0, seed=5)]
)
def test_a_captured_step_draws_what_a_plain_one_draws(runner, sampling):
    def answer(graphs, lag):
        core = Core(runner, None, SHAPE, lag=lag)
        core._graphs = graphs
        for number in range(3):
            core.add(Generate(str(number), token_ids=PROMPTS[number], max_tokens=20, sampling=sampling))
        deltas = []
        while core.busy:
            deltas += [(event.id, *event.token_ids) for event in core.step() if isinstance(event, Delta)]
        return sorted(deltas)

    assert answer(DecodeGraphs(runner, 3, eager), 1) == answer(None, 0)


def test_log_probabilities_come_with_the_tokens_and_are_the_models_own(runner, wardrobe):
    core = Core(runner, None, SHAPE)
    drawn = Sampling(1.5, top_p=0.9, repetition_penalty=1.3, seed=2)
    core.add(Generate("a", token_ids=PROMPTS[0], max_tokens=5, logprobs=True, ignore_eos=True, sampling=drawn))
    core.add(Generate("b", token_ids=PROMPTS[1], max_tokens=5, ignore_eos=True))
    known = {"a": [], "b": []}
    while core.busy:
        for event in core.step():
            if isinstance(event, Delta):
                known[event.id].append((event.token_ids, event.logprobs))
    assert all(logprobs is None for _, logprobs in known["b"])
    tokens = [token for ids, _ in known["a"] for token in ids]
    told = [logprob for _, logprobs in known["a"] for logprob in logprobs]
    plain = AutoModelForCausalLM.from_pretrained(wardrobe[0])
    with torch.inference_mode():
        logits = plain(torch.tensor([[*PROMPTS[0], *tokens]])).logits[0, len(PROMPTS[0]) - 1 : -1]
    expected = logits.log_softmax(-1).gather(-1, torch.tensor(tokens).unsqueeze(-1)).squeeze(-1)
    assert len(told) == 5
    assert torch.allclose(torch.tensor(told), expected, atol=1e-4)


def test_without_rows_for_beginnings_a_pin_is_a_request_like_any_other(runner, alone):
    core = Core(runner, None, replace(SHAPE, num_pinned=0))
    core.add(Generate("pin", token_ids=PROMPTS[0], max_tokens=1, ignore_eos=True), pin="mori")
    events = []
    for _ in range(3):
        events += core.step()
    assert [event.token_ids for event in events if isinstance(event, Delta)] == [(alone[PROMPTS[0], None][0],)]
    assert not core.busy


def test_a_lora_that_memory_has_no_room_for_is_rejected_and_the_worker_lives(runner, wardrobe):
    core = Core(runner, None, SHAPE)
    with Arrivals(core, str(wardrobe[0])) as arrivals:
        arrivals._waiting.append(Arrival("huge", Future()))
        arrivals._waiting[0].weights.set_exception(torch.OutOfMemoryError("tried to allocate 1 TiB"))
        arrivals.expect("mori", str(wardrobe[1][0]))
        assert [(one.name, type(one)) for one in arrivals.install()][:1] == [("huge", LoraRejected)]


def test_a_lora_that_cannot_be_copied_in_leaves_the_name_with_what_it_had(runner, weights, alone):
    stream = Stream(runner, 0)
    stream.load("mori", 0, weights)
    torn = replace(weights[1], matrices={name: (a, b[1:]) for name, (a, b) in weights[1].matrices.items()})
    with pytest.raises(RuntimeError):
        stream.core.install("mori", torn)
    stream.add(PROMPTS[0], "mori")
    while stream.core.busy:
        stream.step()
    assert stream.got["0"] == alone[PROMPTS[0], 0]


def test_after_memory_ran_out_half_the_slots_serve_on(wardrobe, alone):
    core = Core(load_runner(replace(SHAPE, model=str(wardrobe[0]))), None, SHAPE)
    core.add(Generate("lost", token_ids=PROMPTS[0], max_tokens=8))
    core.step()
    assert [event.code for event in core.fail_all("out_of_memory", "no room")] == ["out_of_memory"]
    assert core.shrink() == 1
    core.add(Generate("next", token_ids=PROMPTS[0], max_tokens=8, ignore_eos=True))
    got = []
    while core.busy:
        got += [token for event in core.step() if isinstance(event, Delta) for token in event.token_ids]
    assert got == alone[PROMPTS[0], None]
