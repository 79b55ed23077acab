"""`vtuber-brain evaluate --data` as an operator types it: a base and its loras, and a server elsewhere, on a corpus."""

import asyncio
import json
import os
import sys

import pytest

from tests.support.encoders import tiny_encoder
from tests.support.families import save_talker
from tests.support.loras import save_lora
from tests.support.openai_fake import FakeServer

WORDS = "a very private sentence about umbrellas"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, bundled_model):
    folder = tmp_path_factory.mktemp("evaluate")
    base = save_talker(folder / "base", bundled_model)
    save_lora(folder / "lora", base)
    tiny_encoder(folder / "classifier")
    settings = f'[model]\npath = "{base}"\ndtype = "fp32"\n[engine]\nthreads = 1\ncontext = 640\n'
    (folder / "pip.toml").write_text('name = "pip"\ndisplay_name = "Pip"\nlanguage = "en"\nsystem = "You are Pip."\n')
    example = '[style]\nmax_tokens = 4\n[[examples]]\nheard = "Ayu: hi"\nsays = "Hello there, Ayu."\n'
    (folder / "pop.toml").write_text((folder / "pip.toml").read_text().replace("pip", "pop") + example)
    settings += f'[persona]\nname = "pip"\ndir = "{folder}"\n'
    (folder / "brain.toml").write_text(f'{settings}[sentiment]\nmodel = "{folder / "classifier"}"\n')
    rows = [
        {"messages": [{"role": "user", "content": f"Ayu: {n} hi"}, {"role": "assistant", "content": f"{WORDS} {n}"}]}
        for n in range(4)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "text.txt").write_text("Only plain text stands here.\n")
    return folder


async def evaluate(folder, *arguments):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vtuber_brain", "evaluate", *arguments, "--config", str(folder / "brain.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "140"},
    )
    out, error = await asyncio.wait_for(process.communicate(), 150)
    return process.returncode, out.decode(), error.decode()


async def test_a_base_and_a_lora_are_scored_side_by_side(folder):
    data = str(folder / "rows.jsonl")
    code, out, error = await evaluate(
        folder, "--data", data, "--lora", str(folder / "lora"), "--persona", "none", "--json"
    )
    assert code == 0, error
    found = json.loads(out)
    (lora, base) = found["figures"]
    assert lora["name"].endswith("lora")
    assert lora["nll"]["tokens"] == base["nll"]["tokens"] > 20
    assert lora["nll"]["value"] != base["nll"]["value"]
    assert base["drift"]["nll"] == 0 and lora["drift"]["kl"] > 0
    assert lora["style"]["num_replies"] == 4 and set(lora["overlap"]) == {"bleu", "rouge_1", "rouge_2", "rouge_l"}
    assert found["samples"] == [] and WORDS not in out


async def test_plain_text_is_foreseen_and_the_likeliest_tokens_are_counted(folder):
    lora = str(folder / "lora")
    code, out, error = await evaluate(folder, "--data", str(folder / "text.txt"), "--lora", lora, "--json")
    assert code == 0, error
    figures = json.loads(out)["figures"]
    assert [one["name"] for one in figures] == [lora, "base"]
    for one in figures:
        assert one["nll"]["tokens"] > 5 and 0 <= one["accuracy"] <= 1
        assert (one["style"], one["safety"], one["memorised"]) == (None, None, None)


async def test_the_prompt_alone_is_a_baseline_of_its_own(folder):
    code, out, error = await evaluate(folder, "--data", str(folder / "rows.jsonl"), "--persona", "pop", "--json")
    assert code == 0, error
    found = {one["name"]: one for one in json.loads(out)["figures"]}
    assert list(found) == ["base with examples", "base with prompt alone"]
    assert found["base with examples"]["nll"]["value"] != found["base with prompt alone"]["nll"]["value"]


async def test_a_server_elsewhere_is_measured_by_its_replies_safety_included(folder):
    async with FakeServer() as server:
        arguments = ("--data", str(folder / "rows.jsonl"), "--remote", server.url, "--model", "base", "--show-text")
        code, out, error = await evaluate(folder, *arguments)
        assert code == 0, error
        asked = [body["messages"] for body in server.requests]
    assert len(asked) > 70  # the held-out prompts and the safety set
    assert all(messages[0]["role"] == "system" for messages in asked)
    assert "kept back, safety set" in out and "ROUGE-L" in out
    assert "perplexity" not in out
    assert "Ayu: 2 hi" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Give one of --classifier and --data"),
        (("--data", "rows.jsonl", "--classifier", "rows.jsonl"), "Give one of --classifier and --data"),
        (("--data", "text.txt", "--remote", "http://127.0.0.1:9"), "foresees no text"),
        (("--classifier", "rows.jsonl", "--lora", "one", "--lora", "two"), "--lora once"),
        (("--data", "rows.jsonl", "--persona", "nobody"), "nobody"),
        (("--data", "rows.jsonl", "--persona", "none", "--lora", "nowhere"), "adapter_config.json"),
    ],
)
async def test_what_is_wrong_is_named_before_anything_is_measured(folder, arguments, complaint):
    files = [str(folder / one) if one.endswith((".jsonl", ".txt")) else one for one in arguments]
    code, _, error = await evaluate(folder, *files)
    assert code == 2
    assert complaint in " ".join(error.split())
    assert "Traceback" not in error
