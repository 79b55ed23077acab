"""A brain with a scripted engine and everything else real, and its control API served on a free port."""

import asyncio
import contextlib
import json

import aiohttp
from pydantic import SecretStr

from tests.support.scripted import Collector, ScriptedEngine, calm
from vtuber_brain.air import Air
from vtuber_brain.assembly import assemble
from vtuber_brain.backstage import Backstage
from vtuber_brain.cast import Cast
from vtuber_brain.commands import Commands
from vtuber_brain.config import Settings, state_dir
from vtuber_brain.context.personas import load_persona
from vtuber_brain.control.audit import FILE, AuditLog
from vtuber_brain.control.feed import Feed
from vtuber_brain.control.server import ControlServer, application
from vtuber_brain.control.tokens import load_tokens
from vtuber_brain.control_sections import ControlSettings
from vtuber_brain.controls import came_in, encoded
from vtuber_brain.desk import Desk, Rooms
from vtuber_brain.mute_mark import MuteMark
from vtuber_brain.own_blocklist import OwnBlocklist, own_list
from vtuber_brain.panel.addresses import addresses
from vtuber_brain.plan import rules_for
from vtuber_brain.publisher import Publisher
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.runtime.health import Health
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sentiment.judge import Judge
from vtuber_brain.transcripts.store import Transcripts

TOKENS = {"viewer": "v" * 20, "moderator": "m" * 20, "owner": "o" * 20}


class Operated:
    """One brain and its API; `call` asks it as somebody."""

    def __init__(self, script, transcripts, *, sentiment=(), persona="mori", **control):
        secrets = {f"{role}_token": SecretStr(token) for role, token in TOKENS.items()}
        self.settings = ControlSettings(**{"port": 0, "requests_per_s": 10_000, "burst": 10_000, **secrets, **control})
        chosen = Settings(sentiment=dict(sentiment))
        persona = load_persona(persona)
        self.metrics, self.out, self.engine = Metrics(), Collector(), ScriptedEngine(script)
        self.health = Health(self.metrics, lambda: None)
        self.judge = Judge(chosen.sentiment, rules_for(chosen.sentiment, persona), calm, self.metrics)
        self.feed = Feed(encoded, self.settings.max_streams, self.metrics)
        self.publisher = Publisher(transcripts.append, [self.out, self.feed], self.metrics)
        self.cast = Cast(
            persona, chosen.persona, engine=self.engine, store=ReleaseStore(state_dir() / "personas"), max_loras=2
        )
        self.pipeline = assemble(
            chosen,
            self.metrics,
            judge=self.judge,
            engine=self.engine,
            model="scripted",
            cast=self.cast,
            publisher=self.publisher,
        )
        self.audit = AuditLog(state_dir() / FILE, self.settings.audit_max_bytes, self.metrics)
        self.reloads = 0
        self.air = Air(None, None, persona.name)
        commands = Commands(
            self.pipeline,
            self.cast,
            self.engine,
            air=self.air,
            mute_mark=MuteMark(state_dir()),
            drain_s=0.1,
            reload=self._reload,
        )

        def relist():
            self.judge.use(chosen.sentiment, rules_for(chosen.sentiment, persona), persona.filter)

        self.desk = Desk(
            Rooms(self.pipeline, self.cast, self.engine, self.health, self.metrics),
            commands,
            self.audit,
            OwnBlocklist(own_list(chosen.sentiment), relist),
            state_dir() / "transcripts.db",
            lambda: None,
            Backstage(
                self.cast,
                self.engine,
                self.pipeline.gate,
                chosen,
                receive=self.receive,
                state=state_dir(),
            ),
        )
        tokens = load_tokens(self.settings, state_dir())
        what = self.desk, tokens, self.feed, self.audit, self.settings, self.metrics
        self.panel = None
        if self.settings.panel:
            from vtuber_brain.panel.panel import Panel

            self.panel = Panel(self.desk, tokens, self.feed, self.metrics, addresses(chosen))
        self.app = application(*what, self.panel.front) if self.panel is not None else application(*what)
        self.server = ControlServer(self.app, self.feed, self.settings)
        self.listening = asyncio.Event()

    async def _reload(self):
        self.reloads += 1
        return []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.port}"

    async def receive(self, incoming):
        """As a source delivers it: those who read the events hear of it first."""
        self.feed.tell(*came_in(incoming))
        await self.pipeline.receive(incoming)

    async def run(self):
        panel = self.panel.open() if self.panel is not None else contextlib.nullcontext()
        async with panel, asyncio.TaskGroup() as group:
            group.create_task(self.publisher.run())
            group.create_task(self.pipeline.run())
            group.create_task(self.server.run(lambda _: self.listening.set()))
            await self.cast.open()

    async def call(self, method, path, role="owner", *, token=None, headers=(), **options):
        """Status and decoded body; `role` None: without a token."""
        token = token if token is not None else TOKENS.get(role)
        bearer = {"Authorization": f"Bearer {token}"} if token is not None else {}
        async with self.http.request(method, self.url + path, headers={**bearer, **dict(headers)}, **options) as answer:
            self.answered = answer
            text = await answer.text()
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text


@contextlib.asynccontextmanager
async def operated(script=lambda _: ["Hello there, friend."], **options):
    """An `Operated` that serves."""
    path = state_dir() / "transcripts.db"
    async with Transcripts.open(path, persona="mori", model="scripted", release=None) as transcripts:
        one = Operated(script, transcripts, **options)
        running = asyncio.create_task(one.run())
        waiting = asyncio.create_task(one.listening.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        assert waiting.done(), await running
        async with aiohttp.ClientSession(auto_decompress=False) as one.http:
            try:
                yield one
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
