"""The settings of [plugins.obs_studio], checked; docs/obs.md has them in a table."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator


class Options(BaseModel):
    """What the operator may set; a number may come as text, from the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field("ws://127.0.0.1:4455", pattern="^wss?://", description="where obs-websocket listens")
    password: SecretStr | None = Field(None, description="its password, where it asks for one; a secret")
    subtitles: str = Field("", description="the text source that shows what she says; empty: none")
    linger_s: float = Field(1.5, ge=0, le=60, description="how long a sentence stays after it was heard, s")
    wrap: int = Field(0, ge=0, le=500, description="characters a line of the subtitles; 0: OBS wraps them")
    captions: bool = Field(False, description="send what she says as the stream's captions (CEA-608), too")
    scenes: dict[str, str] = Field({}, description="the scene of each persona, changed to when she comes on stage")
    voice_input: str = Field("", description="the audio source with her voice, muted while she is; empty: none")
    mute_her: bool = Field(False, description="muting `voice_input` in OBS mutes her, unmuting it unmutes her")
    control_url: str = Field("http://127.0.0.1:8765", pattern="^https?://", description="the control API")
    control_token: SecretStr | None = Field(None, description="a moderator's token of it; a secret")
    timeout_s: float = Field(5, gt=0, le=60, description="patience for an answer, s")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.mute_her and not (self.voice_input and self.control_token):
            raise ValueError("mute_her needs voice_input and control_token")
        return self

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        """Check them. Raises ValueError with every problem by its key, and no value."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)
            raise ValueError("; ".join(f"{_place(item['loc'])}{item['msg']}" for item in found)) from None


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc)) + ": " if loc else ""
