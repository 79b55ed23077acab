"""How a release came to be, as `manifest.json` beside its weights tells it. Values only; reads no weights."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vtuber_brain.errors import Refused

Sha256 = str


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Hashed(_Part):
    """Something known by its SHA-256, in hexadecimal digits; None where there is none."""

    sha256: Sha256 | None = Field(pattern=r"^[0-9a-f]{64}$")
    name: str = ""


class Window(_Part):
    """The streams that were learnt from: their ids, and the time of the first and last turn (Unix time, s)."""

    streams: tuple[int, ...] = ()
    since: float | None = None
    until: float | None = None


class Verdict(_Part):
    """What the gate said: passed, passed by a human's word, or passed and held for one; and why."""

    outcome: Literal["passed", "forced", "held"]
    reasons: tuple[str, ...] = ()
    by: str | None = Field(None, description="who forced it, or has it wait")

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if self.outcome == "forced" and not self.by:
            raise ValueError("a forced verdict names who forced it")
        return self


class Manifest(_Part):
    """Everything about a release that its weights do not say."""

    schema_version: Literal[1] = 1
    persona: str
    base: Hashed
    tokenizer: Hashed
    chat_template: Hashed
    data: Hashed = Field(description="of the rows it was trained on")
    content: Hashed = Field(description="of the release's own files, the manifest left out")
    created_at: float = Field(description="when its night began, Unix time in seconds")
    window: Window = Window()
    counts: dict[str, int] = Field({}, description="examples, replies, tokens and what was left out, by reason")
    seed: int = 0
    settings: dict[str, Any] = Field({}, description="those it was trained with")
    packages: dict[str, str] = Field({}, description="name to version")
    scores: dict[str, Any] = Field({}, description="of the evaluation")
    gate: Verdict
    parent: str | None = Field(None, description="the release that was current when it was made")

    def to_bytes(self) -> bytes:
        """The file, the same bytes for the same values."""
        return (self.model_dump_json(indent=2) + "\n").encode()


class Fingerprint(_Part):
    """What a release must be made for: the base's weights, its tokenizer and its chat template, by SHA-256."""

    base: Sha256 | None
    tokenizer: Sha256 | None
    chat_template: Sha256 | None

    def check(self, manifest: Manifest) -> None:
        """Raises Refused, naming each that differs from the manifest's. What is None here is not compared."""
        ours = {"base": self.base, "tokenizer": self.tokenizer, "chat_template": self.chat_template}
        made_for = {"base": manifest.base, "tokenizer": manifest.tokenizer, "chat_template": manifest.chat_template}
        wrong = [
            f"{name} ({(made_for[name].sha256 or 'none')[:12]}, served is {wanted[:12]})"
            for name, wanted in ours.items()
            if wanted is not None and made_for[name].sha256 != wanted
        ]
        if wrong:
            raise Refused(f"the release was made for another {', another '.join(wrong)}")


def parsed(content: bytes) -> Manifest:
    """The manifest of `Manifest.to_bytes`. Raises Refused for anything else."""
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest.json"
        raise Refused(f"manifest.json: {where}: {first['msg']}") from None
