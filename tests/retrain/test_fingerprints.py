"""A release's base, tokenizer and template are told apart by what is in the files."""

import shutil

import pytest

from tests.support.families import save_talker
from vtuber_brain.engine.load import base_hash
from vtuber_brain.retrain.fingerprints import fingerprint


@pytest.fixture
def model(tmp_path, bundled_model):
    save_talker(tmp_path / "model", bundled_model)
    return tmp_path / "model"


def test_the_parts_of_a_model_hash_apart(model, tmp_path):
    found = fingerprint(model)
    assert found.base == base_hash(str(model))
    assert None not in (found.tokenizer, found.chat_template)
    assert fingerprint(shutil.copytree(model, tmp_path / "copy")) == found
    (model / "chat_template.jinja").write_text("{{ messages }}")
    other = fingerprint(model)
    assert (other.base, other.tokenizer) == (found.base, found.tokenizer)
    assert other.chat_template != found.chat_template
    (model / "tokenizer.json").write_text((model / "tokenizer.json").read_text() + " ")
    assert fingerprint(model).tokenizer != found.tokenizer
    weights = next(model.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert fingerprint(model).base != found.base


def test_a_folder_without_any_of_them_has_none(tmp_path):
    found = fingerprint(tmp_path)
    assert (found.base, found.tokenizer, found.chat_template) == (None, None, None)
