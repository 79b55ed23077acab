"""What OBS is to show at a moment: the sentence being heard, captions, the scene of who is on stage. Pure."""

import textwrap
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vtuber_brain.plugin_api import Event, Playback, Status, Turn, Utterance

MAX_SENTENCES = 64
"""Sentences known and not heard yet; the oldest is forgotten, and never shown."""

MAX_CAPTIONS = 4
"""Captions waiting to be sent; the oldest is left out: they are read with the voice, or not at all."""

Key = tuple[str, int]


@dataclass
class Screen:
    """One OBS's. Times are of one monotonic clock, in seconds."""

    linger_s: float
    wrap: int
    scenes: Mapping[str, str]
    clock: Callable[[], float] = time.monotonic
    on_change: Callable[[], None] = lambda: None
    captions: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_CAPTIONS))
    scene: str | None = None
    muted: bool = False
    _texts: OrderedDict[Key, str] = field(default_factory=OrderedDict)
    _shown: Key | None = None
    _text: str = ""
    _ends_s: float | None = None
    _persona: str | None = None

    def hear(self, event: Event) -> None:
        """Take one event of the brain's."""
        match event:
            case Utterance():
                self._learn((event.reply_id, event.seq), event.text)
            case Playback(state="started"):
                self._begin((event.reply_id, event.seq))
            case Playback():
                self._end((event.reply_id, event.seq), event.state == "finished")
            case Turn() if event.ends_at_once:
                self._drop(event.reply_id)
            case Status():
                self._stand(event)
            case _:
                return
        self.on_change()

    @property
    def text(self) -> str:
        """The subtitle at present; empty for none."""
        if self._ends_s is not None and self.clock() >= self._ends_s:
            self._clear()
        return self._text

    @property
    def changes_at_s(self) -> float | None:
        """When the subtitle goes by itself, if it does."""
        return self._ends_s

    def _learn(self, key: Key, text: str) -> None:
        self._texts[key] = text
        if len(self._texts) > MAX_SENTENCES:
            self._texts.popitem(last=False)
        if key == self._shown and self._ends_s is None:  # the player was faster than the news of the sentence
            self._begin(key)

    def _begin(self, key: Key) -> None:
        if self.muted:
            return
        self._shown, self._ends_s = key, None
        text = self._texts.pop(key, "")
        self._text = textwrap.fill(text, self.wrap) if self.wrap else text
        if text:
            self.captions.append(text)

    def _end(self, key: Key, was_heard: bool) -> None:
        self._texts.pop(key, None)
        if key == self._shown:
            self._ends_s = self.clock() + (self.linger_s if was_heard else 0.0)

    def _drop(self, reply_id: str) -> None:
        for key in [key for key in self._texts if key[0] == reply_id]:
            del self._texts[key]
        if self._shown is not None and self._shown[0] == reply_id:
            self._clear()

    def _stand(self, status: Status) -> None:
        self.muted = status.muted
        if status.muted:
            self._texts.clear()
            self._clear()
        if self._persona not in {None, status.persona}:
            self.scene = self.scenes.get(status.persona, self.scene)
        self._persona = status.persona

    def _clear(self) -> None:
        self._shown, self._text, self._ends_s = None, "", None
        self.captions.clear()
