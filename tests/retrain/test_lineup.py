"""Contestants side by side: each is scored as transformers and PEFT score it alone, and answers as the engine does."""

import json
import random
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.support.families import VOCABULARY, save_model, save_talker
from tests.support.loras import save_lora
from vtuber_brain.engine import offline
from vtuber_brain.engine.wire import Configure, Generate
from vtuber_brain.errors import LoraRejected
from vtuber_brain.retrain.lineup import Lineup
from vtuber_brain.retrain.rows import Row


def some_rows(seed: int = 0, count: int = 12) -> list[Row]:
    """Rows that share beginnings, one that goes on where another ends, and one of which nothing is learnt."""
    random.seed(seed)
    opening = tuple(random.randrange(3, VOCABULARY) for _ in range(9))
    made: list[Row] = []
    for n in range(count):
        tail = tuple(random.randrange(3, VOCABULARY) for _ in range(random.randrange(4, 12)))
        before = made[-1].tokens if n % 4 == 3 else opening if n % 3 else ()
        weights = (0.0,) * len(before) + tuple(random.choice([0.0, 1.0, 0.5]) for _ in tail[1:]) + (1.0,)
        made.append(Row(before + tail, weights, 0, f"row-{n}", f"stream-{n % 3}"))
    return [*made, made[4], Row((5, 6, 7), (0.0, 0.0, 0.0), 0, "nothing", "stream-0")]


def alone(base, lora, row):
    """The row's negative log-likelihood by transformers and PEFT, and how many tokens were the likeliest."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if lora is not None:
        model = PeftModel.from_pretrained(model, lora)
    model.eval()
    with torch.inference_mode():
        logprobs = model(input_ids=torch.tensor([row.tokens])).logits[0].float().log_softmax(-1)
    learnt = [(at, token, weight) for at, (token, weight) in enumerate(zip(row.tokens, row.weights, strict=True))]
    learnt = [(logprobs[at - 1], token) for at, token, weight in learnt if at and weight]
    hits = sum(int(known.argmax()) == token for known, token in learnt)
    return -sum(float(known[token]) for known, token in learnt), hits


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2"])
def lineup(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    base = save_model(request.param, folder / "base")
    loras = {
        "base": None,
        "new": save_lora(folder / "new", base, rank=4, seed=1),
        "old": save_lora(folder / "old", base, rank=2, seed=2),
    }
    configure = Configure(model=str(base), dtype="model", threads=1, num_slots=4, context=96)
    return configure, loras, Lineup(configure, loras)


def test_each_in_the_batch_is_scored_as_alone(lineup):
    configure, loras, found = lineup
    rows = some_rows()
    sums = found.score(dict.fromkeys(loras, rows))
    for name, lora in loras.items():
        learnt = [row for row in rows if any(row.weights[1:])]
        assert [one.cluster for one in sums[name]] == [row.group for row in learnt]
        assert [one.tokens for one in sums[name]] == [sum(w > 0 for w in row.weights[1:]) for row in learnt]
        for one, row in zip(sums[name], learnt, strict=True):
            total, hits = alone(configure.model, lora, row)
            assert one.total == pytest.approx(total, rel=1e-4, abs=1e-3)
            assert one.hits == hits


def test_rows_that_all_begin_alike_go_in_several_lanes_and_are_scored_as_alone(lineup):
    configure, loras, found = lineup
    opening = tuple(range(3, 33))
    rows = [replace(row, tokens=opening + row.tokens, weights=(0.0,) * 30 + row.weights) for row in some_rows(2, 30)]
    sums = found.score(dict.fromkeys(loras, rows[:-1]))
    for name, lora in loras.items():
        for at in (0, 7, 19, 29):
            assert sums[name][at].total == pytest.approx(alone(configure.model, lora, rows[at])[0], rel=1e-4, abs=1e-3)


def test_contestants_may_have_rows_of_their_own(lineup):
    _, _, found = lineup
    rows = some_rows()
    together = [one.total for one in found.score({"new": rows, "base": rows[:3]})["base"]]
    assert together == pytest.approx([one.total for one in found.score({"base": rows})["base"]][:3])


def test_nobody_diverges_from_himself_and_a_lora_does_from_the_base(lineup):
    configure, loras, found = lineup
    rows = some_rows()[:6]
    far = found.diverge(rows, "new", "base")
    assert all(one.total > 0.01 for one in far)
    assert [one.group for one in far] == [row.group for row in rows]
    assert [one.tokens for one in far] == [sum(weight > 0 for weight in row.weights[1:]) for row in rows]
    twins = Lineup(configure, {"one": loras["old"], "other": loras["old"]})
    assert all(abs(one.total) < 1e-4 for one in twins.diverge(rows, "one", "other"))


def test_answers_are_the_engines_own_in_order_and_leave_the_scores_as_they_were(tmp_path, bundled_model):
    base = save_talker(tmp_path / "base", bundled_model)
    loras = {"base": None, "new": save_lora(tmp_path / "new", base)}
    configure = Configure(model=str(base), dtype="model", threads=1, num_slots=4, context=96)
    found = Lineup(configure, loras)
    rows = [Row((5, 6, 7, 8), (0.0, 0.0, 1.0, 1.0), 0, "row", "stream")]
    before = found.score({"new": rows})
    prompts = [f"Ayu: what is {n} times nine?" for n in range(5)]
    asked = [Generate("x", prompt=prompt, max_tokens=6, lora=name) for prompt in prompts for name in loras]
    asked.insert(3, Generate("x", prompt="far too long " * 100, max_tokens=6))
    lines = [
        json.dumps({"prompt": prompt, "max_tokens": 6} | ({"lora": str(lora)} if lora else {}))
        for prompt in prompts
        for lora in loras.values()
    ]
    wanted = [answer["text"].strip() for answer in offline.generate(lines, configure)]
    wanted.insert(3, "")
    assert found.answers(asked) == wanted
    assert len(set(wanted)) > 5
    assert found.score({"new": rows}) == before


def test_a_lora_that_is_none_is_refused(lineup, tmp_path):
    with pytest.raises(LoraRejected):
        Lineup(lineup[0], {"new": tmp_path})
