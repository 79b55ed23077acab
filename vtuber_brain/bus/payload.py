"""What every payload on the bus is: frozen, finite numbers, text that has bytes; and a limit to what comes in."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from vtuber_brain.errors import WireError

MAX_INCOMING_BYTES = 16384

M = TypeVar("M")


def encodable(value: Any) -> Any:
    """Text that UTF-8 has bytes for; anything else as it is."""
    # A viewer can smuggle half a surrogate pair through JSON escapes; UTF-8 has no bytes for it.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(encodable)]


class Outgoing(BaseModel):
    """A payload the brain publishes. Fields may be added within a version; consumers ignore what they do not know."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


def parse(adapter: TypeAdapter[M], payload: bytes) -> M:
    """What came in. Raises WireError that says where it is wrong."""
    if len(payload) > MAX_INCOMING_BYTES:
        raise WireError(f"{len(payload)} bytes, over the limit of {MAX_INCOMING_BYTES}")
    try:
        return adapter.validate_json(payload)
    except ValidationError as error:
        item = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, item["loc"])) or "payload"
        raise WireError(f"{where}: {item['msg']}") from None
