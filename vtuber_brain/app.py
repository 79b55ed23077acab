"""The composition root: the only file where concrete classes meet. Start, reload, drain; all that runs is one group."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from vtuber_brain import parts
from vtuber_brain.air import Air
from vtuber_brain.assembly import assemble
from vtuber_brain.bus import topics
from vtuber_brain.bus.control import Control, ControlResult
from vtuber_brain.bus.mqtt import MqttBus
from vtuber_brain.cast import Cast
from vtuber_brain.chat.websocket import WebSocketChat
from vtuber_brain.commands import Commands
from vtuber_brain.config import state_dir
from vtuber_brain.context.personas import Persona
from vtuber_brain.controls import Controls
from vtuber_brain.desk import Rooms, overall
from vtuber_brain.errors import ConfigError, Unavailable
from vtuber_brain.messages import Event, Incoming, Playback, Status
from vtuber_brain.mute_mark import MuteMark
from vtuber_brain.plan import Plan, make_plan, rules_for
from vtuber_brain.plugin_api import Source
from vtuber_brain.plugins import Plugins
from vtuber_brain.publisher import Publisher, Sink
from vtuber_brain.reloading import needs_restart
from vtuber_brain.runtime import notify, signals, watchdog
from vtuber_brain.runtime.child import State
from vtuber_brain.runtime.health import Health
from vtuber_brain.runtime.memory import spare_the_collector
from vtuber_brain.runtime.metrics import Metrics
from vtuber_brain.sections import BusSettings
from vtuber_brain.sentiment.judge import Judge
from vtuber_brain.sentry import Sentry
from vtuber_brain.started import Started
from vtuber_brain.supply import Supply
from vtuber_brain.transcripts.store import Transcripts

log = structlog.get_logger(__name__)

BUS_DRAIN_S = 2.0

OnStarted = Callable[[Started], None]
Task = asyncio.Task[None]


async def run(plan: Plan, config: Path | None, on_started: OnStarted) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError or Refused (in an ExceptionGroup) when it cannot start."""
    spare_the_collector()
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        transcripts = await stack.enter_async_context(parts.transcripts(plan))
        bus_settings = await stack.enter_async_context(parts.broker(plan.settings.bus))
        plugins = await Plugins.start(plan.settings.plugins, metrics)
        air = stack.enter_context(Air(transcripts, plan.transcripts, plan.persona.name).live())
        await App(plan, config, bus_settings, metrics, transcripts, air, plugins).run(on_started)


class App:
    """One daemon, put together; `run` is called once."""

    def __init__(
        self,
        plan: Plan,
        config: Path | None,
        bus_settings: BusSettings,
        metrics: Metrics,
        transcripts: Transcripts | None,
        air: Air,
        plugins: Plugins,
    ) -> None:
        settings, self._config, self._sentiment = plan.settings, config, plan.settings.sentiment
        self._plan, self._bus_settings, self._transcripts, self._plugins = plan, bus_settings, transcripts, plugins
        self._health = Health(metrics, self._show_status)
        self._chat = WebSocketChat(settings.websocket, metrics) if settings.websocket.enabled else None
        self._bus = MqttBus(
            bus_settings,
            plan.persona.name,
            metrics,
            on_playback=self._hear_playback,
            on_control=self._obey,
            on_state=lambda up, reason: self._health.set("bus", up, reason),
        )
        self._engine = parts.engine(plan, metrics, self._watch("engine"))
        self._classifier = parts.classifier(plan, metrics, self._watch("classifier"))
        ask = self._classifier.mood if self._classifier is not None else None
        self._judge = Judge(settings.sentiment, plan.rules, ask, metrics, plugins.judges, plan.persona.filter)
        self._twitch = parts.twitch(settings.twitch, metrics, self._health)
        self._controls = Controls(plan, metrics)
        self._assemble(metrics)
        self._connect(metrics, air)

    def _assemble(self, metrics: Metrics) -> None:
        """The way of a message, from the inbox to the mouth and to everybody who hears it."""
        plan, settings, plugins = self._plan, self._plan.settings, self._plugins
        own_sinks: list[Sink] = [self._bus, *([self._chat] if self._chat is not None else []), *self._controls.sinks]
        own_sinks += [chat.replies for chat in self._twitch if chat.replies is not None]
        self._publisher = Publisher(self._record, own_sinks, metrics, plugins.sinks)
        self._cast = Cast(
            plan.persona,
            settings.persona,
            engine=self._engine,
            store=plan.releases,
            max_loras=settings.engine.max_loras,
            on_lora=lambda up, reason: self._health.set("lora", up, reason),
            on_persona=self._judge_as,
            base=plan.model_name,
        )
        self._pipeline = assemble(
            settings,
            metrics,
            judge=self._judge,
            engine=self._engine,
            model=plan.model_name,
            cast=self._cast,
            publisher=self._publisher,
            recalls=plugins.recalls,
            on_pause=lambda up, reason: self._health.set("gate", up, reason),
        )
        self._sentry = Sentry(plan.releases, self._cast, self._health)
        own_sinks.append(self._sentry)  # last, for it needs the cast
        plugins.on_health = self._health.set

    def _connect(self, metrics: Metrics, air: Air) -> None:
        """What brings messages in, and what the operator has in hand."""
        settings = self._plan.settings
        self._recorder = parts.recorder(settings.chat.record, metrics, self._health)
        receive = self._controls.before(self._pipeline.receive)
        self._supply = Supply(self._recorder.before(receive) if self._recorder is not None else receive, self._health)
        self._progress = parts.progress(self._bus, self._engine, self._classifier, self._supply)
        self._is_ready = False
        self._commands = Commands(
            self._pipeline,
            self._cast,
            self._engine,
            air=air,
            mute_mark=MuteMark(state_dir()),
            drain_s=settings.speech.drain_s,
            reload=self._reload,
        )
        self._controls.open(
            Rooms(self._pipeline, self._cast, self._engine, self._health, metrics),
            self._commands,
            relist=lambda: self._judge_as(self._cast.on_stage.persona)(),
            on_change=self._show_status,
            children={"engine": self._engine, "classifier": self._classifier},
        )

    async def run(self, on_started: OnStarted) -> None:
        """Start every part, serve until told to stop, drain, and stop them."""
        web: list[Source] = [self._chat] if self._chat is not None else []
        sources: list[Source] = [*web, *self._twitch, *self._plugins.sources]
        with signals.heeded() as told:
            async with asyncio.TaskGroup() as group:
                publishing = group.create_task(self._publisher.run(), name="publisher")
                children = [group.create_task(self._engine.run(), name="engine")]
                running = [
                    group.create_task(self._bus.run(), name="bus"),
                    group.create_task(self._controls.run(), name="control"),
                    group.create_task(self._pipeline.run(), name="pipeline"),
                    group.create_task(self._sentry.run(), name="sentry"),
                    group.create_task(watchdog.feed(self._progress), name="watchdog"),
                    group.create_task(self._heed(told.reload), name="reload"),
                    *(group.create_task(self._supply.keep(source), name=f"source-{source.name}") for source in sources),
                ]
                if self._classifier is not None:
                    children.append(group.create_task(self._classifier.run(), name="classifier"))
                voices = parts.voices(self._plan, self._config, self._bus_settings.port, self._health)
                children += [group.create_task(voice.run(), name="voice") for voice in voices]
                if self._recorder is not None:
                    running.append(group.create_task(self._recorder.run(), name="recording"))
                running.append(group.create_task(self._announce(on_started), name="announce"))
                await told.stop.wait()
                await self._drain(told)
                await self._stop(told, running, children)
                publishing.cancel()

    async def _announce(self, on_started: OnStarted) -> None:
        """Say that she can talk: to systemd, and to the terminal."""
        facts = await self._engine.wait_ready()
        await self._cast.open()
        self._show_status()
        role = self._cast.on_stage
        chat = self._plan.settings.websocket
        port = await self._chat.listening() if self._chat is not None else None
        bus = self._bus_settings
        on_started(
            Started(
                persona=role.persona.display_name,
                release=role.release,
                chat_url=f"ws://{chat.host}:{port}/chat" if port is not None else None,
                bus=f"mqtt://{bus.host}:{bus.port} ({bus.broker})",
                topics=topics.topic(bus.prefix, self._plan.persona.name, "#"),
                model_path=self._plan.model_name,
                model=dict(facts),
                classifier=self._plan.settings.sentiment.model if self._classifier is not None else "off (rules only)",
                transcripts=self._plan.transcripts,
                plugins=[status.name for status in self._plugins.statuses if status.state == "on"],
                doors=await self._controls.doors(),
            )
        )
        self._is_ready = True
        notify.ready()
        log.info("started", persona=role.persona.name, release=role.release, **facts)

    async def _drain(self, told: signals.Signals) -> None:
        """Let what is being said come to its end, and everybody hear of it; a second signal cuts that short."""
        notify.stopping()
        patience_s = self._plan.settings.speech.drain_s
        log.info("draining", patience_s=patience_s)
        await told.unless_hurried(self._pipeline.drain(patience_s))
        if told.hurry.is_set():
            log.warning("drain_cut_short")
            await self._pipeline.drain(0)
        await told.unless_hurried(self._bus.drain(BUS_DRAIN_S))

    async def _stop(self, told: signals.Signals, running: Sequence[Task], children: Sequence[Task]) -> None:
        """End all but the publisher, which tells first what became of the last messages that came in."""
        for part in [*running, *children]:
            part.cancel()
        await told.unless_hurried(asyncio.wait(children))
        for child in children:  # a second time: then they are killed without being asked
            child.cancel()
        await told.unless_hurried(asyncio.wait(running))
        await told.unless_hurried(self._publisher.drain())

    async def _reload(self) -> list[str]:
        """Take over the persona, the lists, the thresholds, plugins' settings; returns what needs a restart for it.

        Sources that were given up are tried again. Raises ConfigError, and everything is as it was.
        """
        if self._is_ready:
            notify.reloading()
        before = self._sentiment
        try:
            plan = make_plan(self._config)
            self._sentiment = plan.settings.sentiment
            self._cast.reread(plan.settings.persona)
            unreached = await self._plugins.reload(plan.settings.plugins)
        except ConfigError as error:
            self._sentiment = before
            log.error("reload_refused", problems=[str(problem) for problem in error.problems])
            raise
        else:
            self._supply.try_again()
            changed = needs_restart(self._plan, plan, unreached)
            log.info("reloaded", needs_restart=changed)
            return changed
        finally:
            if self._is_ready:
                notify.ready()

    async def _heed(self, hang_up: asyncio.Event) -> None:
        """Reload at every SIGHUP."""
        while True:
            await hang_up.wait()
            hang_up.clear()
            with contextlib.suppress(ConfigError):  # it is in the log
                await self._reload()

    def _judge_as(self, persona: Persona) -> Callable[[], None]:
        """Read this persona's lists anew; what is returned has the judge go by them. Raises ConfigError."""
        rules = rules_for(self._sentiment, persona)
        return lambda: self._judge.use(self._sentiment, rules, persona.filter)

    async def _record(self, *events: Incoming | Event) -> None:
        if self._transcripts is not None:
            try:
                await self._transcripts.append(*events)
            finally:
                failing = self._transcripts.failing
                self._health.set("transcripts", failing is None, failing or "")

    async def _hear_playback(self, playback: topics.Playback) -> None:
        self._controls.playback.heard(playback.reply_id, playback.seq, playback.state)
        self._publisher.notify(Playback(playback.reply_id, playback.seq, playback.state, playback.at))
        with contextlib.suppress(Unavailable):  # in memory it is kept all the same
            await self._pipeline.hear(playback.reply_id, playback.seq, playback.state)
        if self._transcripts is not None:
            with contextlib.suppress(Unavailable):
                await self._transcripts.playback(playback.reply_id, playback.seq, playback.state, playback.at)

    async def _obey(self, command: Control) -> ControlResult:
        return await self._controls.desk.obey(command)

    def _show_status(self) -> None:
        down, role, muted = self._health.down, self._cast.on_stage, self._pipeline.muted
        state, name = overall(self._pipeline, self._health), role.persona.name
        self._bus.set_status(topics.Status(state=state, persona=name, release=role.release, engine=self._engine.state))
        self._publisher.notify(Status(state, muted, name, role.release))
        for chat in self._twitch:
            chat.mute(muted)
        notify.status(f"{state}: {', '.join(f'{part} {reason}' for part, reason in down.items()) or 'all well'}")

    def _watch(self, part: str) -> Callable[[State, str], None]:
        return lambda state, reason: self._health.set(part, state == "ready", reason or state)
