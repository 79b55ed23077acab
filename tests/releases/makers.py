"""Releases of a few bytes, with every field of their manifests."""

from vtuber_brain.releases.manifest import Fingerprint, Hashed, Manifest, Verdict, Window
from vtuber_brain.releases.publish import content_hash

BASE, TOKENIZER, TEMPLATE = "a" * 64, "b" * 64, "c" * 64
SERVED = Fingerprint(base=BASE, tokenizer=TOKENIZER, chat_template=TEMPLATE)
DAY = 24 * 3600.0


def weights(folder, number, num_bytes=100):
    """A folder that looks like a PEFT directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text('{"r": 4}')
    (folder / "adapter_model.safetensors").write_bytes(f"{number:05}".encode() * (num_bytes // 5))
    return folder


def manifest(folder, day=0, **changes):
    fields = {
        "persona": "mori",
        "base": Hashed(sha256=BASE, name="tiny"),
        "tokenizer": Hashed(sha256=TOKENIZER),
        "chat_template": Hashed(sha256=TEMPLATE),
        "data": Hashed(sha256="d" * 64),
        "content": Hashed(sha256=content_hash(folder)),
        "created_at": 1_800_000_000.0 + day * DAY,
        "window": Window(streams=(1, 2), since=1.0, until=2.0),
        "counts": {"examples": 7},
        "settings": {"rank": 4},
        "packages": {"torch": "2"},
        "scores": {"nll": 1.5},
        "gate": Verdict(outcome="passed"),
    }
    return Manifest(**{**fields, **changes})
