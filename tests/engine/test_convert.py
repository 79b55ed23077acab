"""The conversion, on small GGUF files written here from known weights, and on the bundled model itself."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from vtuber_brain import models
from vtuber_brain.engine import convert
from vtuber_brain.errors import ModelRefused

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
HEADS, KV_HEADS = 4, 2


def byte_letters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in byte order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(shifted)) for byte in range(256)]


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + 256 + 1,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def rotary_order(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of a query or key projection in the order GGUF keeps them in: each head's two halves interleaved."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def tensors(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    named = {"token_embd": model.model.embed_tokens.weight, "output_norm": model.model.norm.weight}
    for index, layer in enumerate(model.model.layers):
        attention, mlp = layer.self_attn, layer.mlp
        parts = {
            "attn_norm": layer.input_layernorm.weight,
            "ffn_norm": layer.post_attention_layernorm.weight,
            "attn_q": rotary_order(attention.q_proj.weight, HEADS),
            "attn_k": rotary_order(attention.k_proj.weight, KV_HEADS),
            "attn_v": attention.v_proj.weight,
            "attn_output": attention.o_proj.weight,
            "ffn_gate": mlp.gate_proj.weight,
            "ffn_up": mlp.up_proj.weight,
            "ffn_down": mlp.down_proj.weight,
        }
        named |= {f"blk.{index}.{name}": weight for name, weight in parts.items()}
    return {f"{name}.weight": weight.detach() for name, weight in named.items()}


def write_gguf(path: Path, model: LlamaForCausalLM, pre: str = "smollm", quantised: bool = False) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(model.config.rope_parameters["rope_theta"])
    writer.add_vocab_size(model.config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    tokens = [*SPECIAL, *byte_letters(), "ĠĠ"]
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.NORMAL] * 257)
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, weight in tensors(model).items():
        if quantised and weight.dim() == 2:
            packed = gguf.quants.quantize(weight.numpy(), gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def original() -> LlamaForCausalLM:
    return llama()


@pytest.fixture(scope="module")
def converted(original, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("convert")
    convert.convert(write_gguf(folder / "tiny.gguf", original), folder / "fp32", "fp32")
    return folder / "fp32"


@pytest.fixture(scope="module")
def bundled() -> Path:
    return models.fetch("smollm2-135m-instruct", print)


@pytest.fixture(scope="module")
def tokenizer(bundled):
    return AutoTokenizer.from_pretrained(bundled)


def test_plain_weights_come_back_bit_for_bit_and_give_the_same_logits(original, converted):
    back = AutoModelForCausalLM.from_pretrained(converted)
    expected = original.state_dict()
    assert {name: torch.equal(weight, expected[name]) for name, weight in back.state_dict().items()} == dict.fromkeys(
        expected, True
    )
    token_ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        assert torch.equal(back(input_ids=token_ids).logits, original(input_ids=token_ids).logits)


def test_quantised_weights_are_unpacked_and_lose_every_mark_of_it(original, tmp_path):
    source = write_gguf(tmp_path / "tiny.gguf", original, quantised=True)
    convert.convert(source, tmp_path / "bf16", "bf16")
    assert not json.loads((tmp_path / "bf16" / "config.json").read_text()).keys() & {
        "quantization_config",
        "_name_or_path",
    }
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "bf16")
    assert not getattr(back, "is_quantized", False)
    assert {weight.dtype for weight in back.state_dict().values()} == {torch.bfloat16}
    packed = next(tensor for tensor in gguf.GGUFReader(source).tensors if tensor.name == "blk.1.ffn_down.weight")
    assert packed.tensor_type == gguf.GGMLQuantizationType.Q8_0
    plain = torch.from_numpy(np.array(gguf.quants.dequantize(packed.data, packed.tensor_type)))
    assert torch.equal(back.model.layers[1].mlp.down_proj.weight, plain.bfloat16())
    back.save_pretrained(tmp_path / "again")  # refused for a model that still counts as quantised


def test_digits_are_cut_singly_as_the_model_learned_them(converted):
    small = AutoTokenizer.from_pretrained(converted)
    assert small.tokenize("a  3") == ["a", "ĠĠ", "3"]  # without the name's rule: a, Ġ, Ġ, 3
    assert small.tokenize("2024") == list("2024")


def test_the_plain_byte_level_rule_is_known_too(original, tmp_path):
    convert.convert(write_gguf(tmp_path / "tiny.gguf", original, pre="gpt-2"), tmp_path / "out", "fp32")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").tokenize("a  3") == ["a", "Ġ", "Ġ", "3"]


def test_the_tokenizer_knows_how_long_a_text_may_be(converted):
    assert AutoTokenizer.from_pretrained(converted).model_max_length == 128


def test_an_unknown_pre_tokenizer_is_refused_by_name_before_anything_is_written(original, tmp_path):
    source = write_gguf(tmp_path / "tiny.gguf", original, pre="tekken")
    with pytest.raises(ModelRefused, match=r"tiny\.gguf: the pre-tokenizer 'tekken' is not known here"):
        convert.convert(source, tmp_path / "out", "bf16")
    assert not (tmp_path / "out").exists()


def test_weights_without_sense_are_refused(converted):
    with pytest.raises(ModelRefused, match=r"plain English costs \d+\.\d nats a token"):
        convert.check(converted)


def test_weights_that_are_not_numbers_are_refused(original, tmp_path):
    broken = llama()
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    convert.convert(write_gguf(tmp_path / "tiny.gguf", broken), tmp_path / "out", "bf16")
    with pytest.raises(ModelRefused, match="costs nan nats"):
        convert.check(tmp_path / "out")


def test_the_command_line_ends_with_a_reason(original, tmp_path):
    source = write_gguf(tmp_path / "tiny.gguf", original)
    for arguments, reason in [
        ([str(source), str(tmp_path / "out")], r"tiny\.gguf cannot be converted: .*nats a token"),
        ([str(tmp_path / "none.gguf"), str(tmp_path / "out")], r"none\.gguf cannot be converted: .*No such file"),
        ([str(converted_file(tmp_path)), str(tmp_path / "out")], r"text\.gguf cannot be converted: GGUF magic invalid"),
    ]:
        with pytest.raises(SystemExit, match=reason):
            convert.main(arguments)


def converted_file(folder: Path) -> Path:
    file = folder / "text.gguf"
    file.write_text("this is not a model, only text that is long enough to be read as one")
    return file


def test_the_bundled_model_talks(bundled):
    assert "Paris" in convert.check(bundled)


def test_the_bundled_model_stops_and_pads_with_im_end(bundled, tokenizer):
    generation = json.loads((bundled / "generation_config.json").read_text())
    config = json.loads((bundled / "config.json").read_text())
    for source in (generation, config):
        assert (source["bos_token_id"], source["eos_token_id"], source["pad_token_id"]) == (1, 2, 2)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert config["dtype"] == "bfloat16"
    assert tokenizer.model_max_length == config["max_position_embeddings"] == 8192


def test_the_bundled_chat_template_is_chatml_and_adds_a_system_message_only_where_none_leads(tokenizer):
    system, user = {"role": "system", "content": "You are Mori."}, {"role": "user", "content": "hi"}

    def render(chat, **how):
        return tokenizer.apply_chat_template(chat, tokenize=False, **how)

    led = "<|im_start|>system\nYou are Mori.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n"
    assert render([system, user]) == led
    assert render([system, user], add_generation_prompt=True) == led + "<|im_start|>assistant\n"
    assert render([user]).startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")


def test_the_bundled_tokenizer_knows_its_special_tokens_as_special(tokenizer):
    assert tokenizer("<|im_start|>user")["input_ids"][0] == 1
    assert tokenizer.decode([1, *tokenizer("user")["input_ids"], 2], skip_special_tokens=True) == "user"
    assert tokenizer("hello")["input_ids"] == tokenizer("hello", add_special_tokens=False)["input_ids"]


ASSIGNED = st.characters(exclude_categories=("Cc", "Cs", "Cn")) | st.sampled_from(
    "\n\t"
)  # six control bytes have no token


@settings(deadline=None, max_examples=200)
@given(text=st.text(ASSIGNED))
def test_the_bundled_tokenizer_gives_every_text_of_assigned_characters_back(text, tokenizer):
    token_ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(token_ids) == text
    pieces = [tokenizer.decode([token_id]) for token_id in token_ids]
    assert all(len(piece) == 1 for piece in pieces if piece.strip().isdigit())
