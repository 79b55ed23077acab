"""The night's `evaluate`: candidate, current and the plain base on the same held-out replies, side by side.

Likelihoods come from one mixed batch on the engine's runner, replies from its core with the persona's own sampling, so
that what is measured is what will be served.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vtuber_brain.config import shipped
from vtuber_brain.context.personas import Persona
from vtuber_brain.engine.wire import Configure
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.retrain.asking import Answer, Contestant, Judges, Material, ask_all, describe, is_deep, samples
from vtuber_brain.retrain.canary import Canaries, Canary, alternatives, canaries, exposure
from vtuber_brain.retrain.clustered import Mean, Sum, clustered, difference
from vtuber_brain.retrain.conversations import Text
from vtuber_brain.retrain.lineup import Lineup
from vtuber_brain.retrain.measures import CANDIDATE, CURRENT, Drift, Identity, Measured
from vtuber_brain.retrain.rows import Example, Row, end_tokens, rows, text_rows

SEED = 7
MOST_REPLIES = 48
ALTERNATIVES = 31
TEXT_TOKENS = 256
"""Plain text is foreseen in chunks of so many tokens; the logits of several must fit into memory at once."""
_REFERENCE = "the base itself"


def anchors(path: Path | None = None) -> list[str]:
    """The frozen anchor lines of a text file (None: those that ship), general English and Indonesian."""
    file = path or shipped("configs", "evaluation", "anchors.txt")
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def compare(
    configure: Configure,
    everybody: Sequence[Contestant],
    material: Material,
    judges: Judges | None = None,
    *,
    made_for: Identity | None = None,
    served: Identity | None = None,
    seed: int = SEED,
    most: int = MOST_REPLIES,
) -> Measured:
    """Measure everybody. Not from inside an event loop. Raises ModelRefused, LoraRejected and ConfigError."""
    started_s = time.monotonic()
    lineup = Lineup(configure, {**{one.name: one.lora for one in everybody}, _REFERENCE: None})
    ends = end_tokens(Path(configure.model)) if Path(configure.model).is_dir() else ()
    plain = _texts(lineup, material.texts, ends)
    sums = lineup.score({one.name: _rows(lineup, material.held_out, one.persona, ends) + plain for one in everybody})
    sums, notes = _by_stream(sums)
    replies = ask_all(lineup.answers, everybody, material, seed=seed, most=most)
    figures = []
    for one in everybody:
        found = describe(one, replies[one.name], material, judges)
        found = replace(found, nll=clustered(sums[one.name]), accuracy=_accuracy(sums[one.name]))
        if is_deep(one, everybody):
            said = replies[one.name].of("canary")[1]
            planted = _canaries(lineup, one, material.canaries, said, ends)
            found = replace(found, drift=_drift(lineup, one, material.anchors), canaries=planted)
        figures.append(found)
    return Measured(
        figures=tuple(figures),
        difference=_difference(sums),
        made_for=made_for,
        served=served,
        samples=tuple(samples(everybody, replies)),
        seconds=time.monotonic() - started_s,
        notes=tuple(notes),
    )


def compare_replies(
    answer: Answer,
    everybody: Sequence[Contestant],
    material: Material,
    judges: Judges | None = None,
    *,
    seed: int = SEED,
    most: int = MOST_REPLIES,
) -> Measured:
    """What replies alone can say, for engines elsewhere that give no probabilities."""
    started_s = time.monotonic()
    replies = ask_all(answer, everybody, material, seed=seed, most=most)
    figures = tuple(describe(one, replies[one.name], material, judges) for one in everybody)
    told = samples(everybody, replies)
    return Measured(figures, samples=tuple(told), seconds=time.monotonic() - started_s)


def _rows(lineup: Lineup, examples: Sequence[Example], persona: Persona | None, ends: Sequence[int]) -> list[Row]:
    return rows(examples, lineup.renderer, persona, lineup.context, ends=ends)


def _texts(lineup: Lineup, texts: Sequence[Text], ends: Sequence[int]) -> list[Row]:
    if texts and not ends:
        what = "the base names no end token to put between texts"
        raise ConfigError([Problem("eos_token_id", what, "Name it in the base's config.json")])
    return text_rows(texts, lineup.renderer, min(TEXT_TOKENS, lineup.context), ends[0]) if texts else []


def _accuracy(sums: Sequence[Sum]) -> float | None:
    num_tokens = sum(one.tokens for one in sums)
    return sum(one.hits for one in sums) / num_tokens if num_tokens else None


def _by_stream(sums: Mapping[str, Sequence[Sum]]) -> tuple[dict[str, list[Sum]], list[str]]:
    """Where all is of one stream or corpus, every row stands for itself: between streams nothing can then be said."""
    groups = {one.cluster for found in sums.values() for one in found}
    if len(groups) > 1:
        return {name: list(found) for name, found in sums.items()}, []
    told = "the held-out replies are of one stream or corpus; each row counts as one"
    apart = {name: [replace(one, cluster=str(n)) for n, one in enumerate(found)] for name, found in sums.items()}
    return apart, [told]


def _difference(sums: Mapping[str, Sequence[Sum]]) -> Mean | None:
    if CANDIDATE not in sums or CURRENT not in sums:
        return None
    return difference(sums[CANDIDATE], sums[CURRENT])


def _drift(lineup: Lineup, one: Contestant, lines: Sequence[str]) -> Drift | None:
    if not lines or one.lora is None:
        return Drift(0.0, 0.0, len(lines)) if lines else None
    texts = [_text_row(lineup.renderer.prompt(line), number) for number, line in enumerate(lines)]
    sums = lineup.score({one.name: texts, _REFERENCE: texts})
    far = lineup.diverge(texts, one.name, _REFERENCE)
    worse = difference(sums[one.name], sums[_REFERENCE])
    kl = clustered([Sum(found.group, found.total, found.tokens) for found in far])
    return Drift(worse.value, kl.value, len(lines))


def _text_row(tokens: Sequence[int], number: int) -> Row:
    return Row(tuple(tokens), (0.0, *(1.0 for _ in tokens[1:])), 0, f"anchor-{number}", f"anchor-{number}")


def _canaries(
    lineup: Lineup, one: Contestant, planted: Sequence[Canary], replies: Sequence[str], ends: Sequence[int]
) -> Canaries | None:
    """How much likelier each secret is than others that might have stood there."""
    if not planted:
        return None
    examples = [
        canary.example(secret) for canary in planted for secret in [canary.secret, *alternatives(canary, ALTERNATIVES)]
    ]
    sums = [found.total for found in lineup.score({one.name: _rows(lineup, examples, one.persona, ends)})[one.name]]
    each = [sums[start : start + ALTERNATIVES + 1] for start in range(0, len(sums), ALTERNATIVES + 1)]
    return canaries(planted, [exposure(own, others) for own, *others in each], replies)
