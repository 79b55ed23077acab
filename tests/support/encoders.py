"""Small random encoders with a tokenizer of their own: real sequence-classification models, made in no time."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "good bad great awful it is a game the stream mantap jelek love hate you what @ user http face joy gg"
LETTERS = [prefix + letter for prefix in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]


def tiny_encoder(
    folder: Path, labels: Sequence[str] = ("negative", "neutral", "positive", "toxic"), seed: int = 3
) -> Path:
    """Write a two-layer BERT with random weights and the given labels to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = list(dict.fromkeys([*SPECIAL, *WORDS.split(), *LETTERS, *"!?.,:;()<>/_-"]))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    wordpiece = BertWordPieceTokenizer(str(folder / "vocab.txt"))
    named = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=wordpiece._tokenizer,
        model_max_length=64,
        **{f"{name}_token": text for name, text in named.items()},
    )
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        initializer_range=0.4,
    )
    torch.manual_seed(seed)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
