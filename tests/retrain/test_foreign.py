"""What trainers elsewhere leave: found, told apart, made plain, or refused with a reason. No pickle is opened."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.families import save_model
from tests.support.loras import save_lora
from vtuber_brain.engine.loras import CONFIG, WEIGHTS, read_lora
from vtuber_brain.errors import ConfigError, LoraRejected
from vtuber_brain.releases.manifest import Fingerprint
from vtuber_brain.retrain.fingerprints import fingerprint
from vtuber_brain.retrain.foreign import find, plain
from vtuber_brain.retrain.matching import BY_HASH, BY_MANIFEST, BY_NAME, BY_SHAPE, shapes_of, take_over

NAME = "someone/their-base"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model("llama", tmp_path_factory.mktemp("served") / "base")


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    return save_lora(tmp_path_factory.mktemp("trained") / "lora", base)


@pytest.fixture
def lora(trained, tmp_path):
    return copied(trained, tmp_path / "lora")


def copied(trained, to):
    to.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, WEIGHTS):
        (to / name).write_bytes((trained / name).read_bytes())
    return to


def change(folder, **settings):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **settings}))


def taken(folder, base, out, name=NAME, max_rank=16):
    return take_over(find(folder), out, base, name, fingerprint(base), max_rank)


class Bomb:
    """Whoever unpickles it finds a file that says so."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def as_trl(trained, folder):
    """SFTTrainer with a save every few steps: the model's files on top, checkpoints with pickles beside."""
    copied(trained, folder)
    (folder / "README.md").write_text("---\nlibrary_name: peft\ntags:\n- trl\n- sft\n---\n")
    (folder / "training_args.bin").write_bytes(pickle.dumps(Bomb(folder / "opened")))
    for step in (5, 10):
        copied(trained, folder / f"checkpoint-{step}")
        (folder / f"checkpoint-{step}" / "optimizer.pt").write_bytes(pickle.dumps(Bomb(folder / "opened")))
    return folder, "trl"


def as_unsloth(trained, folder):
    copied(trained, folder)
    change(
        folder,
        base_model_name_or_path="unsloth/their-base-bnb-4bit",
        auto_mapping={"base_model_class": "LlamaForCausalLM", "parent_library": "transformers", "unsloth_fixed": True},
        target_modules="(?:.*?(?:self_attn|mlp).*?(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj).*?)",
        use_rslora=True,
    )
    return folder, "unsloth"


def as_axolotl(trained, folder):
    """Of a compiled model under FSDP, whose wrappers stay in the names."""
    copied(trained, folder)
    weights = load_file(folder / WEIGHTS)
    wrapped = {key.replace(".layers.", "._orig_mod.layers._fsdp_wrapped_module."): one for key, one in weights.items()}
    save_file({key.replace(".weight", ".default.weight"): one for key, one in wrapped.items()}, folder / WEIGHTS)
    (folder / "README.md").write_text("---\ntags:\n- axolotl\n- base_model:adapter:x\n---\n[Built with Axolotl]")
    (folder / "config.json").write_text("{}")
    return folder, "axolotl"


def as_autotrain(trained, folder):
    """Its parameters hold a token of the hub, which must go nowhere."""
    copied(trained, folder)
    (folder / "training_params.json").write_text(json.dumps({"token": "hf_not_a_real_one", "peft": True}))
    return folder, "autotrain"


def as_olive(trained, folder):
    copied(trained, folder / "model" / "adapter")
    (folder / "model_config.json").write_text("{}")
    return folder, "olive"


@pytest.mark.parametrize("left", [as_trl, as_unsloth, as_axolotl, as_autotrain, as_olive])
def test_what_each_trainer_leaves_becomes_the_same_two_plain_files(trained, base, tmp_path, left):
    folder, trainer = left(trained, tmp_path / "theirs")
    foreign = find(folder)
    assert foreign.trainer == trainer
    taken(folder, base, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [CONFIG, WEIGHTS]
    assert not (folder / "opened").exists()
    ours, theirs = load_file(tmp_path / "out" / WEIGHTS), load_file(trained / WEIGHTS)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert json.loads((tmp_path / "out" / CONFIG).read_text())["base_model_name_or_path"] == NAME
    assert read_lora(tmp_path / "out", shapes_of(base), 16).rank == 4


def test_of_checkpoints_alone_the_best_is_taken_else_the_last(trained, tmp_path):
    for step in (5, 10, 20):
        copied(trained, tmp_path / f"checkpoint-{step}")
    assert find(tmp_path).folder.name == "checkpoint-20"
    (tmp_path / "checkpoint-20" / "trainer_state.json").write_text(
        json.dumps({"best_model_checkpoint": "/elsewhere/out/checkpoint-10"})
    )
    assert find(tmp_path).folder.name == "checkpoint-10"


def test_a_pickle_is_refused_with_what_to_do_and_never_opened(lora, tmp_path):
    (lora / WEIGHTS).unlink()
    (lora / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "opened")))
    with pytest.raises(LoraRejected, match="safe_serialization=True"):
        find(lora)
    assert not (tmp_path / "opened").exists()


def test_where_there_is_no_lora_or_more_than_one_it_is_said(trained, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        find(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="holds no adapter_config"):
        find(tmp_path)
    copied(trained, tmp_path / "one")
    copied(trained, tmp_path / "other")
    with pytest.raises(ConfigError, match="2 loras: one, other"):
        find(tmp_path)


def test_a_model_that_was_merged_already_says_what_to_do_with_it(base):
    with pytest.raises(ConfigError, match=r"model\.path"):
        find(base)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"peft_type": None, "fine_tune_type": "lora"}, "peft_type"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(lora, base, tmp_path, settings, named):
    change(lora, **settings)
    with pytest.raises(LoraRejected, match=named):
        taken(lora, base, tmp_path / "out")


def test_an_embedding_that_was_trained_too_is_named(lora, base, tmp_path):
    key = "base_model.model.model.embed_tokens.weight"
    save_file({**load_file(lora / WEIGHTS), key: torch.zeros(4, 4)}, lora / WEIGHTS)
    with pytest.raises(LoraRejected, match="embed_tokens"):
        taken(lora, base, tmp_path / "out")


def test_two_loras_in_one_file_are_not_mixed(lora, tmp_path):
    weights = load_file(lora / WEIGHTS)
    both = {key.replace(".weight", f".{name}.weight"): one + 0 for name in "ab" for key, one in weights.items()}
    save_file(both, lora / WEIGHTS)
    with pytest.raises(LoraRejected, match="several loras"):
        plain(find(lora), tmp_path / "out", NAME)


def test_one_for_another_shape_or_of_too_high_a_rank_is_refused(lora, base, tmp_path):
    other = save_model("gpt2", tmp_path / "gpt2")
    change(lora, base_model_name_or_path=None)
    with pytest.raises(LoraRejected, match="no projection"):
        taken(lora, other, tmp_path / "out")
    with pytest.raises(LoraRejected, match="max_lora_rank is 2"):
        taken(lora, base, tmp_path / "out", max_rank=2)


def test_its_base_is_known_by_hash_by_name_or_by_its_shape(lora, base, tmp_path):
    change(lora, base_model_name_or_path=str(base))
    assert taken(lora, base, tmp_path / "1").by == BY_HASH
    change(lora, base_model_name_or_path=NAME)
    assert taken(lora, base, tmp_path / "2").by == BY_NAME
    change(lora, base_model_name_or_path="somebody/never-fetched")
    match = taken(lora, base, tmp_path / "3")
    assert (match.by, "somebody/never-fetched" in match.notes[0]) == (BY_SHAPE, True)
    change(lora, base_model_name_or_path=None)
    assert taken(lora, base, tmp_path / "4").by == BY_SHAPE


def test_a_base_that_is_known_to_be_another_is_refused_and_a_quantised_one_is_noted(lora, base, tmp_path):
    other = save_model("llama", tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({key: one + 1 for key, one in weights.items()}, other / "model.safetensors", {"format": "pt"})
    change(lora, base_model_name_or_path=str(other))
    with pytest.raises(LoraRejected, match="another model"):
        taken(lora, base, tmp_path / "out")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "quantization_config": {"load_in_4bit": True}}))
    match = taken(lora, base, tmp_path / "out")
    assert (match.by, "quantised" in match.notes[0]) == (BY_SHAPE, True)


def test_a_manifest_of_ours_says_which_base(lora, base, tmp_path):
    served = fingerprint(base)
    (lora / "manifest.json").write_text(json.dumps({"base": {"sha256": served.base}}))
    assert taken(lora, base, tmp_path / "out").by == BY_MANIFEST
    (lora / "manifest.json").write_text(json.dumps({"base": {"sha256": "0" * 64}}))
    with pytest.raises(LoraRejected, match="another model"):
        taken(lora, base, tmp_path / "out")


def test_a_tokenizer_that_numbers_words_otherwise_is_refused_and_one_with_more_is_noted(lora, base, tmp_path):
    (base / "tokenizer.json").write_text(tokenizer({"tea": 0, "cup": 1}))
    try:
        (lora / "tokenizer.json").write_text(tokenizer({"tea": 0, "cup": 1}, "<|pad|>"))
        (lora / "chat_template.jinja").write_text("{{ messages }}")
        notes = " ".join(taken(lora, base, tmp_path / "out").notes)
        assert "1 tokens more" in notes and "another chat template" in notes
        (lora / "tokenizer.json").write_text(tokenizer({"tea": 1, "cup": 0}))
        with pytest.raises(LoraRejected, match="2 tokens are other ones"):
            taken(lora, base, tmp_path / "out")
    finally:
        (base / "tokenizer.json").unlink()


def tokenizer(words, *added):
    more = [{"content": token, "id": len(words) + n} for n, token in enumerate(added)]
    return json.dumps({"model": {"type": "WordLevel", "vocab": words}, "added_tokens": more})


def test_the_shapes_are_those_of_the_engines_bank(base, tmp_path):
    from vtuber_brain.engine.load import load_runner
    from vtuber_brain.engine.wire import Configure

    for folder in (base, save_model("gpt2", tmp_path / "gpt2")):
        runner = load_runner(Configure(str(folder), dtype="fp32", context=64, num_slots=1, max_loras=1))
        assert dict(shapes_of(folder)) == dict(runner.bank.shapes)


def test_the_same_files_are_the_same_content_wherever_they_lie(lora, trained):
    assert find(lora).content == find(trained).content
    change(lora, lora_alpha=3)
    assert find(lora).content != find(trained).content


def test_a_fingerprint_without_weights_refuses_what_names_a_base(lora, base, tmp_path):
    change(lora, base_model_name_or_path=str(base))
    with pytest.raises(LoraRejected, match="served is none"):
        nothing = Fingerprint(base=None, tokenizer=None, chat_template=None)
        take_over(find(lora), tmp_path / "out", base, NAME, nothing, 16)
