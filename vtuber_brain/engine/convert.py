"""Turns a GGUF file into a Hugging Face directory: safetensors, tokenizer, chat template, generation config.

Run once per model as a process of its own (`python -m vtuber_brain.engine.convert FILE.gguf FOLDER`), so that torch
never enters the process that asks for it. It never downloads, and it never leaves a model unread: `check` loads what
was written and makes it speak.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from vtuber_brain.errors import ModelRefused

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
PLAIN_ENGLISH = "Once upon a time there was a little girl who lived in a house in the woods."
MAX_NATS_PER_TOKEN = 5.0
ROUND_TRIP = "In 2024, halo  kak!\n\tC'est 3½ €, 日本 😀 <|im_end|>"


def convert(source: Path, target: Path, dtype: str) -> None:
    """Write the model in the GGUF file `source` to the folder `target`, weights unpacked to `dtype` (bf16 or fp32).

    Raises ModelRefused for a pre-tokenizer that is not known here, OSError and ValueError as transformers does.
    """
    splitter = _pre_tokenizer(source)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    tokenizer.backend_tokenizer.pre_tokenizer = splitter
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        dtype=DTYPES[dtype],
        quantization_config=GgufConfig(dequantize=True),  # else it stays marked as quantised and cannot be saved
        local_files_only=True,
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)


def check(target: Path) -> str:
    """Load the folder and return its greedy answer to a question; raises ModelRefused when it makes no sense.

    Sense is measured: a sentence of plain English costs a sound model 2 to 3 nats a token, one with a single kind of
    weight out of order 9 or more.
    """
    tokenizer = AutoTokenizer.from_pretrained(target, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(target, local_files_only=True)
    if tokenizer.decode(tokenizer(ROUND_TRIP)["input_ids"]) != ROUND_TRIP:
        raise ModelRefused(f"{target}: the tokenizer does not give back the text it was given")
    nats = _nats_per_token(model, tokenizer)
    if not nats < MAX_NATS_PER_TOKEN:  # so that NaN is refused too
        raise ModelRefused(f"{target}: plain English costs {nats:.1f} nats a token, over {MAX_NATS_PER_TOKEN}")
    return _answer(model, tokenizer, "What is the capital of France?")


def _pre_tokenizer(source: Path) -> Any:
    """What cuts text before the byte pairs are merged; GGUF holds only its name, which transformers does not read.

    The names are llama.cpp's. Without the digits' part "a  3" becomes other tokens than those the model learned from.
    """
    field = gguf.GGUFReader(source).get_field("tokenizer.ggml.pre")
    name = field.contents() if field else "default"
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    match name:
        case "gpt-2" | "default":
            return byte_level
        case "smollm":
            return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    raise ModelRefused(f"{source.name}: the pre-tokenizer {name!r} is not known here")


def _nats_per_token(model: Any, tokenizer: Any) -> float:
    token_ids = tokenizer(PLAIN_ENGLISH, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return float(model(input_ids=token_ids, labels=token_ids).loss)


def _answer(model: Any, tokenizer: Any, question: str) -> str:
    chat = [{"role": "user", "content": question}]
    if tokenizer.chat_template:
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    else:
        prompt = tokenizer(question, return_tensors="pt")
    output = model.generate(**prompt, max_new_tokens=24, do_sample=False)
    answer = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
    return str(answer).strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: convert, then check; exits with a message when the model cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m vtuber_brain.engine.convert", description=main.__doc__)
    parser.add_argument("source", type=Path, help="the GGUF file")
    parser.add_argument("target", type=Path, help="the folder to write")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # two that spin for each other on a busy machine need forty times as long
    try:
        convert(given.source, given.target, given.dtype)
        answer = check(given.target)
    except (ModelRefused, OSError, ValueError) as error:
        sys.exit(f"{given.source.name} cannot be converted: {error}")
    print(f"asked for the capital of France, it says: {answer}", file=sys.stderr)  # noqa: T201 - a command line's answer


if __name__ == "__main__":
    main()
