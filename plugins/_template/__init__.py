"""Every hook once, each doing something small: copy the folder, rename it in plugin.toml, keep what you need.

Settings: `remind_every_s` (seconds between reminders to her, default 1800), `reminder` (its text),
`unwanted` (words nobody may write, default none). docs/plugins.md has the contract of each hook.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtuber_brain.plugin_api import Author, ChatMessage, Deliver, Event, Registry, Utterance, Verdict


@dataclass(frozen=True, slots=True)
class Options:
    """The settings, and what they are when the operator does not say."""

    remind_every_s: float = 1800.0
    reminder: str = "What about a sip of water?"
    unwanted: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: dict[str, Any]) -> "Options":
        """Check them here: what setup raises is what `vtuber-brain check` shows. Numbers may come as text."""
        if unknown := sorted(settings.keys() - {"remind_every_s", "reminder", "unwanted"}):
            raise ValueError(f"unknown setting: {', '.join(unknown)}")
        if not isinstance(settings.get("unwanted", []), list):
            raise TypeError("unwanted is a list of words")
        options = cls(
            remind_every_s=float(settings.get("remind_every_s", cls().remind_every_s)),
            reminder=str(settings.get("reminder", cls().reminder)),
            unwanted=tuple(str(word).casefold() for word in settings.get("unwanted", ())),
        )
        if not options.remind_every_s > 0:
            raise ValueError("remind_every_s is more than 0")
        return options


class Reminder:
    """A source: it brings chat, here a line of its own now and then. It runs until it is cancelled."""

    name = "reminder"

    def __init__(self, every_s: float, text: str) -> None:
        self._every_s, self._text = every_s, text

    async def run(self, deliver: Deliver) -> None:
        """Deliver a reminder, wait, again."""
        # An id must never come twice, or the message is taken for a duplicate; not even after a restart.
        started_at, author = time.time(), Author("reminder", "the clock")
        for number in itertools.count():
            await asyncio.sleep(self._every_s)
            await deliver(
                ChatMessage(
                    source=self.name,
                    id=f"{started_at}-{number}",
                    author=author,
                    text=self._text,
                    at=time.time(),
                    received_s=time.monotonic(),
                )
            )


class Unwanted:
    """A judge: an opinion on every message that the rules let through. Whoever denies wins."""

    name = "unwanted"

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words

    async def judge(self, message: ChatMessage) -> Verdict:
        """Deny a message with one of the words in it. The reason is a code, shown in chat and counted."""
        found = any(word in message.text.casefold() for word in self._words)
        return Verdict("deny" if found else "allow", ("unwanted_word",) if found else (), message.text)


class Roles:
    """A recall: facts for the prompt of one reply, as they would follow the viewer's name."""

    name = "roles"

    async def recall(self, message: ChatMessage) -> Sequence[str]:
        """`Wren is one of your moderators.` in the prompt, when Wren is one."""
        return ["is one of your moderators"] if "moderator" in message.author.roles else []


class Counter:
    """A sink: it is told every event, in order. This one counts sentences, and remembers the count."""

    name = "counter"

    def __init__(self, file: Path) -> None:
        self._file = file
        self.num_sentences = json.loads(file.read_text()) if file.exists() else 0

    async def emit(self, event: Event) -> None:
        """Count a sentence. What may take long (a disk, a network) is awaited or in a thread, never in the way."""
        if isinstance(event, Utterance):
            self.num_sentences += 1
            await asyncio.to_thread(self._keep, self.num_sentences)

    def _keep(self, num_sentences: int) -> None:
        # Written beside and renamed: a power cut leaves the old count or the new one, never half of it.
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps(num_sentences))
        beside.replace(self._file)


async def setup(registry: Registry, settings: dict[str, Any]) -> None:
    """Add the hooks that plugin.toml names. It prepares and checks; it connects nowhere: `check` calls it too."""
    options = Options.of(settings)
    registry.add_source(Reminder(options.remind_every_s, options.reminder))
    registry.add_judge(Unwanted(options.unwanted))
    registry.add_recall(Roles())
    registry.add_sink(Counter(registry.state_dir / "sentences.json"))
