"""Every route of the API: what it takes, who may, what it answers. It decides nothing; it asks the brain (ports.py)."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from vtuber_brain.control import models
from vtuber_brain.control.addresses import learn
from vtuber_brain.control.answers import ACT, LOOK, READY, By, On, asked, needs, responses, told
from vtuber_brain.control.feed import Feed, Reader
from vtuber_brain.control.guard import GuardedRoute, Refusal
from vtuber_brain.control.models import Answer

KEEPALIVE_S = 15.0

learn()
router = APIRouter(route_class=GuardedRoute)


@router.get("/healthz", responses=responses())
async def healthz() -> models.Alive:
    """The process answers. Takes no token."""
    return models.Alive()


@router.get(
    "/readyz",
    response_model=models.Readiness,
    responses=READY,
)
async def readyz(brain: On) -> JSONResponse:
    """200 only while she can talk; else 503 and what stands against it. Takes no token."""
    reasons = brain.reasons()
    readiness = models.Readiness(ready=not reasons, reasons=reasons)
    return JSONResponse(readiness.model_dump(), 503 if reasons else 200)


@router.get("/metrics", openapi_extra=needs("viewer"), responses=LOOK, response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus' text format. Takes no token where control.open_metrics is set."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/state", openapi_extra=needs("viewer"), responses=LOOK)
async def state(brain: On) -> models.State:
    """How she is: who is on stage, what works, what waits, what she thinks about."""
    return brain.state()


@router.get("/v1/events", openapi_extra=needs("viewer"), responses=LOOK, response_class=StreamingResponse)
async def events(request: Request) -> StreamingResponse:
    """Server-Sent Events: what subscribers of the chat are told. Who reads slowly loses the oldest (`lost`)."""
    feed: Feed = request.app.state.feed
    reader = feed.open()
    if reader is None:
        raise Refusal(503, "busy", "as many read as there may be; see control.max_streams")
    return StreamingResponse(_lines(feed, reader), media_type="text/event-stream")


async def _lines(feed: Feed, reader: Reader) -> AsyncIterator[str]:
    try:
        yield ": hello\n\n"
        while not reader.closed:
            event = await reader.next(KEEPALIVE_S)
            yield f"event: {event[0]}\ndata: {event[1]}\n\n" if event is not None else ": still here\n\n"
    finally:
        feed.leave(reader)


@router.post("/v1/mute", openapi_extra=needs("moderator", urgent=True), responses=ACT, response_model=Answer)
async def mute(brain: On, who: By) -> JSONResponse:
    """What is said and thought ends at once; nothing is said until unmute. Waits for nothing, counts in no rate."""
    return await told(brain.order(who, "mute"))


@router.post("/v1/unmute", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer)
async def unmute(brain: On, who: By) -> JSONResponse:
    """She speaks again."""
    return await told(brain.order(who, "unmute"))


@router.post("/v1/skip", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer)
async def skip(brain: On, who: By) -> JSONResponse:
    """What is being said is cut; 409 nothing_to_skip when nobody speaks."""
    return await told(brain.order(who, "skip"))


@router.post("/v1/say", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def say(body: models.SayBody, brain: On, who: By) -> JSONResponse:
    """She speaks these words before any reply that waits; 409 denied when the gate does not let them pass."""
    return await told(brain.order(who, "say", text=body.text))


@router.post("/v1/persona", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def use_persona(body: models.RoleBody, brain: On, who: By) -> JSONResponse:
    """Bring a persona on stage."""
    return await told(brain.order(who, "persona", name=body.name, release=body.release))


@router.get("/v1/personas", openapi_extra=needs("viewer"), responses=ACT)
async def personas(brain: On, who: By) -> models.Personas:
    """Who is on stage, who stands ready, and every persona with her releases."""
    return models.Personas.model_validate(await asked(brain.order(who, "personas")))


@router.get("/v1/personas/{name}", openapi_extra=needs("viewer"), responses=ACT)
async def persona(name: models.PersonaName, brain: On, who: By) -> models.PersonaDetail:
    """One persona: her file, her releases and how they came to be; 409 when there is none of that name."""
    return models.PersonaDetail.model_validate(await asked(brain.order(who, "show", name=name)))


@router.post("/v1/preload", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def preload(body: models.RoleBody, brain: On, who: By) -> JSONResponse:
    """Have a persona ready behind the stage."""
    return await told(brain.order(who, "preload", name=body.name, release=body.release))


@router.post("/v1/preview", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def preview(body: models.PreviewBody, brain: On, who: By) -> JSONResponse:
    """What a persona would answer, with this release: nobody hears it. It stands ready then, as by preload."""
    return await told(brain.preview(who, body.name, body.release, body.text))


@router.post("/v1/chat", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer)
async def chat(body: models.ChatBody, brain: On, who: By) -> JSONResponse:
    """Write something as a viewer: it goes the way of any message."""
    return await told(brain.chat(who, body.name, body.text))


@router.post("/v1/drop", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def drop(body: models.RoleBody, brain: On, who: By) -> JSONResponse:
    """Take a release, or all of hers that are idle, out of the engine."""
    return await told(brain.order(who, "drop", name=body.name, release=body.release))


@router.get("/v1/held", openapi_extra=needs("moderator"), responses=ACT)
async def held(brain: On, who: By) -> models.HeldList:
    """The messages that wait for a human's decision, the longest held first."""
    return models.HeldList.model_validate(await asked(brain.order(who, "held")))


@router.post(
    "/v1/held/{message_id:whole}/allow", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer
)
async def allow(
    message_id: models.MessageId, brain: On, who: By, body: models.DecisionBody | None = None
) -> JSONResponse:
    """Let a held message be answered as if it had just come; 409 not_held."""
    source = body.source if body is not None else None
    return await told(brain.order(who, "allow", message_id=message_id, source=source))


@router.post("/v1/held/{message_id:whole}/deny", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer)
async def deny(
    message_id: models.MessageId, brain: On, who: By, body: models.DecisionBody | None = None
) -> JSONResponse:
    """Deny a held message; 409 not_held."""
    source = body.source if body is not None else None
    return await told(brain.order(who, "deny", message_id=message_id, source=source))


@router.get("/v1/blocklist", openapi_extra=needs("moderator"), responses=ACT)
async def blocklist(brain: On) -> models.BlockList:
    """The operator's own block list."""
    path, entries = brain.blocklist()
    return models.BlockList(path=path, entries=list(entries))


@router.put("/v1/blocklist", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer)
async def replace_blocklist(body: models.EntriesBody, brain: On, who: By) -> JSONResponse:
    """Have the list hold these entries and no others; 409 when one of them is none, and nothing has changed."""
    return await told(brain.block(who, "replace", body.entries))


@router.post("/v1/blocklist", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer)
async def block(body: models.EntryBody, brain: On, who: By) -> JSONResponse:
    """Add an entry, and judge by it from now on."""
    return await told(brain.block(who, "add", [body.entry]))


@router.delete("/v1/blocklist", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer)
async def unblock(entry: Annotated[models.Entry, Query()], brain: On, who: By) -> JSONResponse:
    """Remove an entry; 409 not_listed."""
    return await told(brain.block(who, "remove", [entry]))


@router.post("/v1/reload", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def reload(brain: On, who: By) -> JSONResponse:
    """Read thresholds, lists and the persona anew, as SIGHUP does."""
    return await told(brain.order(who, "reload"))


@router.post("/v1/sleep", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def sleep(brain: On, who: By) -> JSONResponse:
    """Running replies end, then the engine leaves the device; nobody is answered until wake."""
    return await told(brain.order(who, "sleep"))


@router.post("/v1/wake", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def wake(brain: On, who: By) -> JSONResponse:
    """The engine starts again, with its loras."""
    return await told(brain.order(who, "wake"))


@router.get("/v1/replies", openapi_extra=needs("moderator"), responses=ACT)
async def replies(
    brain: On, limit: Annotated[int, Query(ge=1, le=200)] = 50, unrated: Annotated[bool, Query()] = False
) -> models.RatedReplies:
    """The latest replies that were heard, with the operator's last word on each."""
    return models.RatedReplies.model_validate(await asked(brain.replies(limit, unrated=unrated)))


@router.get("/v1/night", openapi_extra=needs("moderator"), responses=ACT)
async def night(brain: On) -> models.Night:
    """Last night's retrain: its name, and its report as a page of its own (HTML)."""
    return models.Night.model_validate(await asked(brain.night()))


@router.post("/v1/replies/{reply_id}/rating", openapi_extra=needs("moderator"), responses=ACT, response_model=Answer)
async def rate(reply_id: models.ReplyId, body: models.RatingBody, brain: On, who: By) -> JSONResponse:
    """Say whether a reply was good: what she learns from."""
    return await told(brain.rate(who, reply_id, body.rating, body.reason))


@router.put("/v1/replies/{reply_id}/text", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def edit(reply_id: models.ReplyId, body: models.EditBody, brain: On, who: By) -> JSONResponse:
    """Say what she should have said: she learns that instead."""
    return await told(brain.edit(who, reply_id, body.text, body.reason))


@router.delete("/v1/viewers/{source}/{author_id}", openapi_extra=needs("owner"), responses=ACT, response_model=Answer)
async def forget(source: models.SourceName, author_id: models.AuthorId, brain: On, who: By) -> JSONResponse:
    """Forget a viewer: what they wrote, the replies to it, and replies to others that quote them. For good."""
    return await told(brain.forget(who, source, author_id))


@router.get("/v1/audit", openapi_extra=needs("owner"), responses=LOOK)
async def audit(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> models.AuditPage:
    """The latest actions, the newest first: who, when, what, and how it went."""
    return models.AuditPage.model_validate({"entries": request.app.state.audit.latest(limit)})
