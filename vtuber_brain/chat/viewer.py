"""The viewer's terminal: type a line, see its verdict and mood, then the reply sentence by sentence.

`Viewer` is the pure part, what to send for a line and what to show for a frame; `view` joins it to the daemon and the
terminal. It is a client like any other and knows nothing of the daemon but its chat.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, RenderableType

from vtuber_brain.chat import screen
from vtuber_brain.chat.client import Client, open_client
from vtuber_brain.chat.frames import (
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    AckFrame,
    AuthorBody,
    BanFrame,
    ClearFrame,
    ClientFrame,
    DeleteFrame,
    DroppedFrame,
    ErrorFrame,
    LostFrame,
    MessageFrame,
    ReplyFrame,
    ServerFrame,
    UtteranceFrame,
    VerdictFrame,
)
from vtuber_brain.chat.terminal import Terminal, open_terminal
from vtuber_brain.errors import Unavailable
from vtuber_brain.runtime.retry import backoff

FATE_S = 60.0
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 5.0

Rows = list[RenderableType]
_ACKS = {"delete": "taken back", "ban": "banned", "clear": "chat cleared"}


@dataclass(frozen=True, slots=True)
class Typed:
    """What a line asks for: a frame to send, rows to show, or to leave."""

    frame: ClientFrame | None = None
    rows: tuple[RenderableType, ...] = ()
    leaving: bool = False


class Viewer:
    """One viewer's side of the chat; `name` may change, and each name is an author of its own.

    With `why` the fates of other viewers' messages are shown too, and why each was chosen.
    """

    def __init__(
        self, name: str, persona: str, clock: Callable[[], float] = time.monotonic, *, why: bool = False
    ) -> None:
        self._why = why
        self.name = name.strip()[:MAX_NAME_CHARS] or "viewer"
        self._persona, self._clock = persona, clock
        self._prefix = f"{secrets.token_hex(4)}-"
        self._sent_s: dict[str, float] = {}
        self._last_id: str | None = None
        self._replies: set[str] = set()
        self.pending: set[str | None] = set()

    def typed(self, line: str) -> Typed:
        """What one line means; a line that begins with / is a command."""
        text = line.strip()
        command, _, rest = text.partition(" ")
        match command:
            case "":
                return Typed()
            case "/quit":
                return Typed(leaving=True)
            case "/help":
                return Typed(rows=tuple(screen.help_rows()))
            case "/delete":
                return self._delete()
            case "/clear":
                return self._moderates(ClearFrame())
            case "/as" | "/ban":
                return self._named(command, rest.strip())
        return self._said(text) if not text.startswith("/") else _hint(f"{command} is no command; try /help")

    def heard(self, frame: ServerFrame) -> Rows:
        """What to show for one frame; the fate of a message, or the answer to a command, takes it out of `pending`."""
        match frame:
            case AckFrame() if frame.of in _ACKS:
                self.pending.discard(frame.of)
                return [screen.note(_ACKS[frame.of])]
            case ErrorFrame():
                self.pending -= {frame.of, frame.id}
                return [screen.error_line(frame)]
            case VerdictFrame():
                return self._verdict(frame)
            case DroppedFrame():
                return self._dropped(frame)
            case UtteranceFrame():
                return self._utterance(frame)
            case ReplyFrame():
                return self._reply(frame)
            case LostFrame():
                return [screen.note(f"{frame.count} events lost: this terminal is too slow", "yellow")]
        return []

    def forget_pending(self) -> None:
        """The connection was lost, and with it the fates still unknown."""
        self.pending.clear()

    def _said(self, text: str) -> Typed:
        if len(text) > MAX_TEXT_CHARS:
            return _hint(f"that is {len(text)} characters; {MAX_TEXT_CHARS} is the most")
        message_id = f"{self._prefix}{len(self._sent_s)}"
        self._sent_s[message_id] = self._clock()
        self._last_id = message_id
        self.pending.add(message_id)
        author = AuthorBody(id=author_id(self.name), name=self.name)
        return Typed(MessageFrame(id=message_id, author=author, text=text), (screen.viewer_line(self.name, text),))

    def _delete(self) -> Typed:
        if self._last_id is None:
            return _hint("there is nothing of yours to take back")
        return self._moderates(DeleteFrame(id=self._last_id))

    def _named(self, command: str, name: str) -> Typed:
        if not name or len(name) > MAX_NAME_CHARS:
            return _hint(f"{command} NAME, of at most {MAX_NAME_CHARS} characters")
        if command == "/ban":
            return self._moderates(BanFrame(author_id=author_id(name)))
        self.name = name
        return _hint(f"you are {name} now")

    def _moderates(self, frame: DeleteFrame | BanFrame | ClearFrame) -> Typed:
        self.pending.add(frame.type)
        return Typed(frame)

    def _verdict(self, frame: VerdictFrame) -> Rows:
        ours = frame.id in self._sent_s
        if ours and frame.action == "deny":
            self.pending.discard(frame.id)
        if not (ours or self._why):
            return []
        why = [screen.why_line(frame.why)] if self._why and frame.why is not None else []
        return [screen.verdict_line(frame, self._since(frame.id), "" if ours else frame.author), *why]

    def _dropped(self, frame: DroppedFrame) -> Rows:
        ours = frame.id in self._sent_s
        self.pending.discard(frame.id)
        if not (ours or self._why):
            return []
        return [screen.dropped_line(frame, self._since(frame.id), "" if ours else frame.author)]

    def _utterance(self, frame: UtteranceFrame) -> Rows:
        origin = frame.in_reply_to
        ours = origin is not None and origin.message_id in self._sent_s
        first = frame.reply_id not in self._replies
        self._replies.add(frame.reply_id)
        rows: Rows = [screen.other_line(origin.author, origin.text)] if first and origin and not ours else []
        elapsed_s = self._since(origin.message_id) if first and origin else None
        return [*rows, screen.spoken_line(self._persona if first else "", frame.text, frame.cue, elapsed_s)]

    def _reply(self, frame: ReplyFrame) -> Rows:
        ours = frame.in_reply_to in self._sent_s
        known = frame.reply_id in self._replies
        self._replies.discard(frame.reply_id)
        if not ours and not known:
            return []
        self.pending.discard(frame.in_reply_to or "")
        return [screen.reply_line(frame, self._since(frame.in_reply_to or ""))]

    def _since(self, message_id: str) -> float | None:
        sent_s = self._sent_s.get(message_id)
        return None if sent_s is None else self._clock() - sent_s


def author_id(name: str) -> str:
    """The id of a viewer who types in a terminal: the name, whatever its case."""
    return name.casefold()[:MAX_NAME_CHARS]


async def view(
    url: str,
    token: str | None,
    name: str,
    *,
    persona: str = "mori",
    why: bool = False,
    console: Console | None = None,
    stdin: int = 0,
    fate_s: float = FATE_S,
) -> None:
    """Chat as `name` until /quit or the end of `stdin` (a file descriptor); `why` shows every message's fate.

    With a keyboard a lost connection is sought again. With a pipe each line waits for the fate of the one before, at
    most `fate_s` seconds, and so does leaving. Raises Unavailable when the daemon is not there, Refused when it does
    not want us.
    """
    viewer = Viewer(name, persona, why=why)
    pauses = None
    with open_terminal(console or Console(), stdin) as terminal:
        while True:
            try:
                async with open_client(url, token) as client:
                    await client.subscribe()
                    terminal.print(screen.note(f"connected to {url} · /help for commands"))
                    pauses = backoff(RETRY_FIRST_S, RETRY_MAX_S)
                    return await _converse(client, viewer, terminal, fate_s)
            except Unavailable as gone:
                if pauses is None or not terminal.interactive:
                    raise
                viewer.forget_pending()
                terminal.print(screen.note(f"{gone}; trying again", "yellow"))
                await asyncio.sleep(next(pauses))


async def _converse(client: Client, viewer: Viewer, terminal: Terminal, fate_s: float) -> None:
    """Type and listen side by side until the typing ends. Raises Unavailable when the daemon goes first."""
    heard = asyncio.Event()
    typing = asyncio.create_task(_type(client, viewer, terminal, heard, fate_s), name="chat-typing")
    listening = asyncio.create_task(_listen(client, viewer, terminal, heard), name="chat-listening")
    try:
        done, _ = await asyncio.wait({typing, listening}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        typing.cancel()
        listening.cancel()
        await asyncio.gather(typing, listening, return_exceptions=True)


async def _listen(client: Client, viewer: Viewer, terminal: Terminal, heard: asyncio.Event) -> None:
    while True:
        rows = viewer.heard(await client.receive())
        if rows:
            terminal.print(*rows)
        heard.set()


async def _type(client: Client, viewer: Viewer, terminal: Terminal, heard: asyncio.Event, fate_s: float) -> None:
    terminal.prompt = screen.prompt(viewer.name)
    terminal.redraw()
    while (line := await terminal.line()) is not None:
        typed = viewer.typed(line)
        if typed.leaving:
            return
        terminal.prompt = screen.prompt(viewer.name)
        terminal.print(*typed.rows)
        if typed.frame is not None:
            await client.send(typed.frame)
        if not terminal.interactive and not await _settled(viewer, heard, fate_s):
            terminal.print(screen.note(f"no answer within {fate_s:.0f} s", "yellow"))
            viewer.forget_pending()


async def _settled(viewer: Viewer, heard: asyncio.Event, fate_s: float) -> bool:
    """Whether every fate is known before `fate_s` is over."""
    try:
        async with asyncio.timeout(fate_s):
            while viewer.pending:
                heard.clear()
                await heard.wait()
    except TimeoutError:
        return False
    return True


def _hint(text: str) -> Typed:
    return Typed(rows=(screen.note(text),))
