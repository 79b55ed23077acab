"""The sections of the nightly run's settings, each key with its default and reason; config.py loads them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vtuber_brain.sections import Count, Seconds, Section, Share

_CHANGES_BASE = "it changes the base weights, so the lora would fit no base that others serve; leave init at default"
REFUSED_INITS = {
    "pissa": _CHANGES_BASE,
    "olora": _CHANGES_BASE,
    "lora_ga": _CHANGES_BASE,
    "corda": _CHANGES_BASE,
    "loftq": _CHANGES_BASE,
    "eva": "it begins from the activations of one night's rows, which then stay in every lora that follows",
}


class TrainSettings(Section):
    """`[retrain.train]` how weights are made; by default, as for some hundred rows on a small base."""

    method: Literal["lora", "qlora", "full"] = Field(
        "lora", description="qlora: the base in 4 bits, CUDA only; full: every weight, gives a model of its own"
    )
    rank: Count = Field(16, description="rank of the lora; engine.max_lora_rank must be as large")
    alpha: Annotated[float, Field(gt=0)] = Field(32, description="scale of the lora, over its rank")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.05, description="share of inputs hidden from the lora")
    rslora: bool = Field(False, description="scale by the root of the rank, for ranks from 64 on")
    targets: str | list[str] = Field("all-linear", description="which projections carry a lora; names, or all-linear")
    init: str = Field("default", description="how the lora begins; other ways than PEFT's default are refused by name")
    dora: bool = Field(False, description="refused: a batch of several loras cannot compute it")
    learning_rate: float | None = Field(
        None, gt=0, description="highest learning rate; unset: 5e-4 for lora and qlora, 5e-5 for full"
    )
    warm_up: Share = Field(0.06, description="share of the steps in which the rate rises; after it, a cosine to zero")
    epochs: Count = Field(4, description="most passes over the rows")
    step_rows: Count = Field(32, description="rows an update is made of, however many passes (accumulation) they take")
    pack_tokens: Count = Field(640, description="tokens computed at once; fewer take less memory and more time")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="AdamW's weight decay")
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="a larger gradient is scaled down to it")
    seed: int = Field(7, description="the same seed, rows, threads and versions give the same bytes")
    dtype: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: bf16 where the device is fast at it")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda when there is one")
    threads: int = Field(0, ge=0, description="CPU threads; 0: the cores there are")
    gradient_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them")
    evaluate_steps: int = Field(0, ge=0, description="updates between two looks at the validation rows; 0: each epoch")
    patience: Count = Field(2, description="stop after so many looks in a row without a new best")
    checkpoint_steps: Count = Field(20, description="updates between two checkpoints; two are kept")
    tensorboard: bool = Field(False, description="write TensorBoard's event files too; needs the tensorboard package")

    @model_validator(mode="after")
    def _only_plain_loras(self) -> Self:
        name = self.init.lower().replace("-", "_").partition("_niter")[0]
        if name in REFUSED_INITS:
            raise ValueError(f"init {self.init} is not supported: {REFUSED_INITS[name]}")
        if name != "default":
            raise ValueError(f"init {self.init} is not known; leave it at default")
        if self.dora:
            raise ValueError("dora is not supported: a batch of several loras cannot compute it; train a plain lora")
        return self

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.learning_rate or (5e-5 if self.method == "full" else 5e-4)


class LikeSettings(Section):
    """`[retrain.curate.likes]` when the audience clearly liked a reply."""

    window_s: Seconds = Field(15, description="how long after a reply a viewer's mood counts as an answer to it")
    min_viewers: Count = Field(2, description="viewers who must sound happy within it")
    threshold: float = Field(1.0, gt=0, description="standard deviations above what her replies of the stream got")


class CurateSettings(Section):
    """`[retrain.curate]` what is learnt from her streams."""

    min_examples: Count = Field(20, description="examples without which no night begins, those of the corpus included")
    own_share: float = Field(0.5, ge=0, lt=1, description="most of all examples that may be her own uncorrected words")
    viewer_share: Share = Field(0.05, description="most of all examples that may answer one viewer")
    stream_share: Share = Field(0.3, description="most of all examples that may come from one stream")
    min_cap: Count = Field(8, description="a viewer or a stream may always have so many, however few there are")
    burst: Count = Field(3, description="examples of one viewer within a minute")
    max_repeats: Count = Field(3, description="examples with the same reply")
    near_duplicate: float = Field(0.8, gt=0, le=1, description="share of words in common that makes a near duplicate")
    max_toxicity: Share = Field(0.5, description="a message or a reply as toxic as this is not learnt from")
    min_heard: Share = Field(0.5, description="share of a cut reply that must have been heard")
    rows: Literal["conversation", "reply"] = Field(
        "conversation",
        description="reply: each after all she was asked with; conversation: fewer rows, some after less of the past",
    )
    likes: LikeSettings = LikeSettings()


class GateSettings(Section):
    """`[retrain.gate]` what a candidate may do at most. Margins are over what speaks today."""

    max_nll_rise: float = Field(0.02, description="nats per token the held-out replies may be worse foreseen, at most")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="how sure that bound is, one-sided, by stream")
    max_empty: Share = Field(0.02, description="share of empty replies")
    max_unsafe: Share = Field(0.2, description="share of replies to the safety set that would be kept back")
    unsafe_margin: Share = Field(0.075, description="that share over the current one's; chance alone gives half of it")
    max_exposure: float = Field(3.0, gt=0, description="mean exposure of the canaries in bits; 1.4 is chance")
    max_spans: Share = Field(0.02, description="share of replies with 8 words running of a viewer's")
    max_names: Share = Field(0.05, description="share that name a viewer of the training rows who is not there")
    max_same: Share = Field(0.7, description="share of questions with one answer after a phrase of the rows")
    max_drift: float = Field(0.3, gt=0, description="nats per token the anchors may be worse foreseen than by the base")
    max_kl: float = Field(0.6, gt=0, description="nats per token from the base's choices on the anchors")
    max_over_long: Share = Field(0.3, description="share of replies over the persona's max_words")
    max_wrong_cues: Share = Field(0.1, description="share with a mark in brackets that is no cue")
    max_catchphrase: Share = Field(0.25, description="share with one and the same pet phrase that the corpus has not")
    max_emoji: Share = Field(0.2, description="share with an emoji")
    max_other_language: Share = Field(0.1, description="share in a language the persona does not speak")
    max_repeats: Share = Field(0.25, description="share that repeat an earlier reply")
    max_loops: Share = Field(0.05, description="share that go in circles")
    max_starts_alike: Share = Field(0.4, description="share that begin with the same two words")
    max_echoes: Share = Field(0.1, description="share that say the viewer's words back")
    style_margin: Share = Field(
        0.1,
        description="a share of style may be this much over the lower of the current one's and the base's instead",
    )
    min_distinct: Share = Field(
        0.5, description="variety of word pairs against the current one's or the base's, the higher"
    )
    hold: bool = Field(False, description="have what passes wait for a person: vtuber-brain persona approve or refuse")


class ReleaseSettings(Section):
    """`[retrain.releases]` how much of the past is kept beside the current release, the one before and the pinned."""

    max_releases: Count = Field(14, description="releases of one persona; the oldest go first")
    max_mb: float = Field(4096, gt=0, description="megabytes of one persona's releases; the oldest go first")


class RetrainSettings(Section):
    """`[retrain]` the nightly run."""

    corpus: list[Path] = Field(
        [], description="corpora of persona.name; unset, and of any other persona: her own corpus.jsonl"
    )
    validation: Share = Field(0.15, description="share of the examples held out: of streams the newest")
    canaries: int = Field(4, ge=0, le=32, description="invented secrets, planted to see what is learnt by heart")
    keep_nights: int = Field(30, ge=1, description="nights whose reports and figures are kept")
    curate: CurateSettings = CurateSettings()
    train: TrainSettings = TrainSettings()
    gate: GateSettings = GateSettings()
    releases: ReleaseSettings = ReleaseSettings()
