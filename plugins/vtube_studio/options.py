"""The settings of [plugins.vtube_studio], checked; docs/vtube_studio.md has them in a table."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError


class Options(BaseModel):
    """What the operator may set; a number may come as text, from the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field("ws://127.0.0.1:8001", pattern="^wss?://", description="where VTube Studio listens")
    discover: Literal["machine", "network", "off"] = Field(
        "machine", description="whose broadcasts are believed when nobody listens at `url`: of this machine, or of any"
    )
    discovery_port: int = Field(47779, ge=1, le=65535, description="the UDP port of those broadcasts")
    mapping: Path | None = Field(None, description="the file that maps moods and cues to hotkeys and expressions")
    voice_url: str = Field(
        "ws://127.0.0.1:8767/overlay/ws",
        pattern="^(wss?://.*)?$",
        description="the voice's address, for mouths from the sound; empty: mouths are made from the text",
    )
    voice_token: SecretStr | None = Field(None, description="the voice's token, where it asks for one; a secret")
    rate_hz: float = Field(40, ge=30, le=60, description="how often a second the mouth moves while she speaks")
    idle_every_s: float = Field(0.5, gt=0, le=0.9, description="how often her face is held while she is silent, s")
    face_found: bool = Field(True, description="have VTube Studio take her face as found: no `tracking lost`")
    mouth: str = Field("MouthOpen", min_length=1, max_length=32, description="the parameter that opens the mouth, 0-1")
    smile: str = Field("MouthSmile", max_length=32, description="the parameter of her smile, 0-1; empty: none")
    vowels: bool = Field(False, description="set VoiceA, VoiceI, VoiceU, VoiceE and VoiceO, too, 0-1")
    timeout_s: float = Field(5, gt=0, le=60, description="patience for an answer, s")
    allow_s: float = Field(300, gt=0, le=3600, description="patience for your click on Allow, s")

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Self:
        """Check them. Raises ValueError with every problem by its key, and no value."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)
            raise ValueError("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in found)) from None
