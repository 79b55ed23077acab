"""`generate` over a file: order, errors by line, and the output's shape."""

import json

import pytest

from tests.support.families import save_model
from vtuber_brain.engine.offline import generate, generate_file
from vtuber_brain.engine.wire import Configure


@pytest.fixture(scope="module")
def configure(tmp_path_factory):
    return Configure(model=str(save_model("llama", tmp_path_factory.mktemp("llama"))), dtype="model", threads=1)


def test_a_line_in_is_a_line_out_in_the_same_order(configure):
    lines = [json.dumps({"id": f"r{n}", "token_ids": [3 + n] * (20 - n), "max_tokens": 1 + n}) for n in range(20)]
    answers = list(generate(lines, configure))
    assert [answer["id"] for answer in answers] == [f"r{n}" for n in range(20)]
    assert [len(answer["token_ids"]) <= n + 1 for n, answer in enumerate(answers)] == [True] * 20
    assert set(answers[0]) == {"id", "token_ids", "text", "finish_reason", "usage"}
    assert answers[0]["text"] is None


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "x", "token_ids": [1', "not JSON"),
        ('["id"]', "the record"),
        ('{"id": "x"}', "exactly one of"),
        ('{"id": "x", "token_ids": [1], "prompt": "a"}', "exactly one of"),
        ('{"id": "x", "prompt": "a"}', "no tokenizer"),
        ('{"id": "x", "token_ids": ["a"]}', "token_ids.0"),
        ('{"id": "x", "token_ids": [4000]}', "outside 0..95"),
        ('{"id": "x", "token_ids": [1], "max_tokens": 0}', "max_tokens"),
        ('{"id": "x", "token_ids": [1], "temprature": 1}', "temprature"),
        ('{"id": "x", "token_ids": [1], "top_p": 2}', "top_p"),
        ('{"id": "x", "messages": [{"role": "wizard", "content": "a"}]}', "messages.0.role"),
        ('{"id": "x", "token_ids": [1, 2], "max_tokens": 500}', None),
    ],
)
def test_a_bad_line_gets_its_error_and_disturbs_nobody(configure, line, complaint):
    good = json.dumps({"id": "good", "token_ids": [5, 6, 7], "max_tokens": 4})
    alone = list(generate([good], configure))
    first, bad, last = generate([good, line, good], configure)
    assert [first["token_ids"], last["token_ids"]] == [alone[0]["token_ids"]] * 2
    if complaint is None:
        assert bad["finish_reason"] == "length" or bad["token_ids"][-1] == 2
    else:
        assert complaint in bad["error"]
        assert set(bad) == {"id", "error"}


def test_the_output_file_appears_whole(configure, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id": 1, "token_ids": [4]}\n\n{"id": 2}\n')
    assert generate_file(source, target, configure) == (1, 1)
    assert [json.loads(line)["id"] for line in target.read_text().splitlines()] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_an_empty_file_is_answered_by_an_empty_file(configure):
    assert list(generate([], configure)) == []
