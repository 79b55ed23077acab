"""What the operator does beside the show: writes as a viewer, hears a line nobody else hears, looks back on replies and
on the last night. It changes nothing of what is said.
"""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtuber_brain.cast import Cast
from vtuber_brain.config import Settings
from vtuber_brain.context.memory import Recalled
from vtuber_brain.context.prompt import build
from vtuber_brain.engine.api import Engine, Request
from vtuber_brain.engine.wire import Done, Sampling
from vtuber_brain.errors import Unavailable
from vtuber_brain.gate import Gate
from vtuber_brain.messages import Author, ChatMessage, Incoming
from vtuber_brain.nights import NIGHTS
from vtuber_brain.roles import Role
from vtuber_brain.runtime.clock import now_s, unix_s
from vtuber_brain.speech.stream import Speech
from vtuber_brain.transcripts.ratings import rated

SOURCE = "panel"
"""Where the messages come from that the operator writes as a viewer."""
MAX_REPORT_BYTES = 8 * 2**20
_NIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.(\d+))?")

Receive = Callable[[Incoming], Awaitable[None]]


class Backstage:
    """One daemon's. `receive` takes a message as a source delivers it; `state` is the state folder."""

    def __init__(
        self, cast: Cast, engine: Engine, gate: Gate, settings: Settings, *, receive: Receive, state: Path
    ) -> None:
        self._cast, self._engine, self._gate, self._settings = cast, engine, gate, settings
        self._receive, self._state = receive, state

    async def chat(self, name: str, text: str) -> dict[str, Any]:
        """Have a message come in as if a viewer had written it; its id and source. Raises Unavailable, stored not."""
        message = _message(name, text)
        await self._receive(message)
        return {"id": message.id, "source": message.source}

    async def preview(self, name: str, release: str | None, text: str) -> dict[str, Any]:
        """What this persona and release, which stand ready, answer to `text`, and why the gate would not let it pass.

        Raises Unavailable, ConfigError, EngineDown or RequestFailed.
        """
        role = self._cast.enter(self._cast.ready(name, release))
        try:
            said = await self._line(role, text)
        finally:
            self._cast.leave(role)
        reasons, _ = await self._gate.allows(said, role) if said else ((), None)
        return {"persona": role.persona.name, "release": role.release, "text": said, "reasons": list(reasons)}

    async def replies(self, transcripts: Path, limit: int, *, unrated: bool) -> dict[str, Any]:
        """The latest replies that were heard, the newest first. Raises ConfigError or Unavailable."""
        found = await asyncio.to_thread(rated, transcripts, unrated=unrated, limit=limit)
        return {"replies": [asdict(one) for one in found]}

    async def night(self) -> dict[str, Any]:
        """The latest report of a night of whoever is on stage. Raises Unavailable when it cannot be read."""
        persona = self._cast.on_stage.persona.name
        return await asyncio.to_thread(_last_night, self._state / NIGHTS / persona, persona)

    async def _line(self, role: Role, text: str) -> str:
        """The first sentences of an answer to a stranger, as many as she may say."""
        persona, speech = role.persona, self._settings.speech
        prompt = build(persona, Recalled(), (), _message("Guest", text), text, None, self._settings.memory)
        sampling = Sampling(**persona.sampling.model_dump())
        request = Request(prompt, persona.style.max_tokens, sampling, persona.stop, lora=role.lora, priority=-1)
        lines, cutter = [], Speech(persona.cues.names, speech.max_sentence_chars)
        async with aclosing(self._engine.generate(request)) as stream:
            async for piece in stream:
                lines += cutter.feed(piece) if not isinstance(piece, Done) else cutter.flush()
        return " ".join([line.text for line in lines if line.text][: speech.max_sentences])


def _message(name: str, text: str) -> ChatMessage:
    author = Author(f"{SOURCE}:{name.strip().casefold()}", name.strip())
    return ChatMessage(SOURCE, uuid.uuid4().hex[:12], author, text.strip(), unix_s(), now_s())


def _last_night(folder: Path, persona: str) -> dict[str, Any]:
    try:
        found = sorted((key, path) for path in folder.glob("*/report-*.html") if (key := _order(path)) is not None)
        if not found:
            return {"persona": persona, "night": None, "report": None}
        path = found[-1][1]
        if path.stat().st_size > MAX_REPORT_BYTES:
            raise Unavailable(f"{path}: larger than {MAX_REPORT_BYTES} bytes")
        return {"persona": persona, "night": path.parent.name, "report": path.read_text(encoding="utf-8")}
    except (OSError, ValueError) as error:
        raise Unavailable(f"the report of the last night cannot be read: {error}") from None


def _order(report: Path) -> tuple[str, int, float] | None:
    named = _NIGHT.fullmatch(report.parent.name)
    return (named[1], int(named[2] or 1), report.stat().st_mtime) if named is not None else None
