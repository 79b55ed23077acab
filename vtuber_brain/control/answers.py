"""What routes share: who asks of whom, what may be answered, and which role a route wants."""

from collections.abc import Awaitable
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from vtuber_brain.control import models
from vtuber_brain.control.guard import Refusal
from vtuber_brain.control.models import Answer
from vtuber_brain.control.ports import Brain
from vtuber_brain.control.tokens import Who

_STATUS = {"ok": 200, "busy": 503, "timeout": 504, "unavailable": 503}
_NOT_DONE = 409


async def _brain(request: Request) -> Brain:
    brain: Brain = request.app.state.brain
    return brain


async def _who(request: Request) -> Who:
    who: Who = request.state.who
    return who


On = Annotated[Brain, Depends(_brain)]
By = Annotated[Who, Depends(_who)]


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What any route may answer, for its OpenAPI."""
    said = {
        400: "not to be read",
        403: "the page, the host or the role is not allowed",
        408: "the body did not come in time",
        413: "the body is too large",
        415: "the body is packed, or no JSON",
        422: "the body or the path is not as it should be",
        429: "too many requests, or too many wrong tokens",
        503: "not now",
    }
    return {status: {"model": Answer, "description": said[status]} for status in (*said, *statuses)}


_DONE: dict[int | str, dict[str, Any]] = {
    401: {"model": Answer, "description": "no token, or nobody's"},
    409: {"model": Answer, "description": "understood and not done; `code` says why"},
    503: {"model": Answer, "description": "not at present: what it needs is not there, or too much is waiting"},
    504: {"model": Answer, "description": "not done in time"},
}
READY = responses() | {503: {"model": models.Readiness, "description": "she cannot talk"}}
LOOK = responses() | {401: _DONE[401]}
ACT = LOOK | _DONE


def needs(role: Literal["viewer", "moderator", "owner"], *, urgent: bool = False) -> dict[str, Any]:
    """For `openapi_extra`: the role the guard asks for; `urgent`: counted in no rate."""
    needed: dict[str, Any] = {"x-role": role, "security": [{"bearer": []}]}
    return needed | ({"x-urgent": True} if urgent else {})


async def told(answer: Awaitable[Answer]) -> JSONResponse:
    """An order's answer, with its status."""
    done = await answer
    return JSONResponse(done.model_dump(), _STATUS.get(done.code, _NOT_DONE))


async def asked(answer: Awaitable[Answer]) -> dict[str, Any]:
    """What a question is answered with. Raises Refusal when it is not."""
    said = await answer
    if not said.ok or said.data is None:
        raise Refusal(_STATUS.get(said.code, _NOT_DONE), said.code, said.detail)
    return said.data
