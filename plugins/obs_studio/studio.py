"""Keeps OBS as it should be: logs in, says what is to be shown and muted, and comes back whenever OBS was gone."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from vtuber_brain.plugin_api import Deliver, Event, Refused, Status

from .brain import Brain
from .link import Lost, opened
from .mute import Mutes
from .options import Options
from .racing import until
from .screen import Screen
from .slots import LATER_S
from .wishes import slots

log = structlog.get_logger(__name__)

PAUSES_S = (0.5, 1.0, 2.0, 5.0)


class Troubles:
    """What is wrong at present, by part; health is told of the whole."""

    def __init__(self, set_health: Callable[[bool, str], None]) -> None:
        self._set_health = set_health
        self._reasons: dict[str, str] = {}

    def set(self, part: str, reason: str) -> None:
        """Note what is wrong with a part; an empty reason: nothing."""
        if self._reasons.get(part, "") == reason:
            return
        self._reasons[part] = reason
        reasons = [reason for reason in self._reasons.values() if reason]
        self._set_health(not reasons, "; ".join(reasons))


class Ledger:
    """Whether the input's mute is ours, kept as a file: a daemon that died muted must not leave OBS muted for ever."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_ours = path.exists()

    def write(self, ours: bool) -> None:
        """Keep it, if it is another than before. On a disk that takes nothing it is kept until the daemon ends."""
        if ours == self.is_ours:
            return
        self.is_ours = ours
        try:
            if ours:
                self._path.touch(mode=0o600)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("obs_studio_mute_not_kept", reason=error.strerror)


class Studio:
    """A source that delivers nothing, and a sink: it runs for as long as the daemon does."""

    name = "studio"

    def __init__(self, options: Options, ledger: Ledger, troubles: Troubles) -> None:
        self._options, self._ledger, self._troubles = options, ledger, troubles
        self._woken, self._renewed, self._touched = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._screen = Screen(options.linger_s, options.wrap, options.scenes, on_change=self._woken.set)
        self._mutes = Mutes(ours=ledger.is_ours)
        self._changing = False
        self._slots = slots(options, self._screen, self._mutes, self._keep, troubles.set)

    async def emit(self, event: Event) -> None:
        """Take one event of the brain's, and wait for nothing."""
        if isinstance(event, Status):
            self._mutes.she_is(event.muted)
        self._screen.hear(event)

    def use(self, options: Options) -> None:
        """Go on with other settings, over a new connection."""
        self._options, screen = options, self._screen
        screen.linger_s, screen.wrap, screen.scenes = options.linger_s, options.wrap, options.scenes
        self._slots = slots(options, screen, self._mutes, self._keep, self._troubles.set)
        self._renewed.set()

    async def run(self, deliver: Deliver) -> None:  # noqa: ARG002 - nothing comes in this way
        """Stay connected until cancelled. Raises Refused for what only the operator can mend."""
        following = asyncio.create_task(self._follow_hands(), name="obs_studio-hands")
        try:
            await self._stay()
        finally:
            following.cancel()
            await asyncio.wait({following})

    async def _stay(self) -> None:
        tries = 0
        while True:
            since_s = time.monotonic()
            self._renewed.clear()
            try:
                await until(self._renewed, self._serve(), "obs_studio-serve")
            except (Lost, Refused) as error:
                self._troubles.set("connection", str(error))
                if isinstance(error, Refused):
                    raise
            if time.monotonic() - since_s > 2 * PAUSES_S[-1]:
                tries = 0
            if not self._renewed.is_set():
                await asyncio.sleep(PAUSES_S[min(tries, len(PAUSES_S) - 1)])
            tries += 1

    async def _serve(self) -> None:
        """One connection, to its end."""
        async with opened(self._options, self._hear, self._woken.set) as link:
            self._troubles.set("connection", "")
            log.info("obs_studio_up")
            self._begin_anew()
            while True:
                self._woken.clear()
                link.check()
                for slot in () if self._changing else self._slots:
                    await slot.step(link, time.monotonic(), self._options.timeout_s, self._wake)
                await self._sleep()

    async def _sleep(self) -> None:
        """Until something happens or is due; at any rate not for long, lest a hung OBS goes unnoticed."""
        now_s = time.monotonic()
        times = [now_s + LATER_S, self._screen.changes_at_s, *(slot.due_s(now_s) for slot in self._slots)]
        try:
            async with asyncio.timeout(max(0.0, min(at_s for at_s in times if at_s is not None) - now_s)):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _begin_anew(self) -> None:
        """Nothing is known of OBS, or no longer."""
        self._changing, self._mutes.theirs, self._mutes.asked = False, None, None
        for slot in self._slots:
            slot.forget()

    def _hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """An event of OBS's."""
        match kind:
            case "InputMuteStateChanged" if data.get("inputName") == self._options.voice_input:
                self._mutes.seen(data.get("inputMuted") is True)
                self._touched.set()
                self._keep()
            case "CurrentSceneCollectionChanging" | "ExitStarted":
                self._changing = True  # a request at that time can take OBS down, says the protocol
            case "CurrentSceneCollectionChanged":
                self._begin_anew()
        self._woken.set()

    def _keep(self) -> None:
        self._ledger.write(self._mutes.ours)

    def _wake(self, _: object) -> None:
        self._woken.set()

    async def _follow_hands(self) -> None:
        """Mute her, or unmute her, when a hand did so in OBS; until the control API has taken it, or it is outdated."""
        while True:
            await self._touched.wait()
            self._touched.clear()
            wish, self._mutes.by_hand = self._mutes.by_hand, None
            while wish is not None and self._options.mute_her and self._mutes.by_hand is None:
                reason = await Brain(self._options).mute(wish)
                self._troubles.set("control", reason)
                if not reason:
                    log.info("obs_studio_hand_followed", muted=wish)
                    break
                await asyncio.sleep(1)
