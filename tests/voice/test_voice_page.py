"""docs/voice.md says what the code does: its frames are read, its keys and codes are there, its examples load."""

import json
import re
from pathlib import Path

from tests.support.voices import said, state
from vtuber_brain.bus.topics import CuePayload
from vtuber_brain.context.personas import PersonaVoice
from vtuber_brain.voice import wire
from vtuber_brain.voice.sound import Clip
from vtuber_brain.voice_sections import BUILT_IN

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "voice.md").read_text()
SOURCES = "".join(path.read_text() for path in (ROOT / "vtuber_brain" / "voice").glob("*.py"))


def frames(kind):
    (block,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return [json.loads(line) for line in block.splitlines()]


def sent():
    """One of each frame that a page is sent."""
    face = wire.Face("mori", "Mori", "en")
    yield wire.hello(face, is_muted=False, theme="glass", avatar={"kind": "drawn", "files": {}})
    yield wire.sentence(said(), Clip(b"\0\0" * 480), 7)[0]
    yield wire.cue(CuePayload(name="wave", intensity=1.0, for_ms=2000))
    yield wire.skip("r-81")
    yield wire.stop()
    yield wire.status(state())
    yield wire.ping(1.0)


def shape(value):
    return {key: shape(inner) for key, inner in value.items()} if isinstance(value, dict) else type(value).__name__


def test_each_frame_that_a_page_is_sent_stands_there_with_all_its_fields():
    shown = frames("json")
    for text, example in zip(sent(), shown, strict=True):
        assert shape(json.loads(text)) == shape(example)


def test_each_frame_of_a_page_is_understood():
    said_by_page = [wire.from_page(json.dumps(frame)) for frame in frames("json page")]
    assert [type(frame) for frame in said_by_page] == [wire.PageReady, wire.PagePlayback, wire.Pong]


def test_every_engine_key_and_place_stands_there():
    assert all(f"`{name}`" in PAGE for name in BUILT_IN)
    assert all(re.search(rf"(?m)^{key} = ", PAGE) for key in PersonaVoice.model_fields)
    assert all(place in PAGE for place in ("{lang}", "{voice}", "{speed}", "{slowness}", "{words_per_minute}"))


def test_every_reason_for_a_skip_stands_there():
    reasons = set(re.findall(r'"skipped", "(\w+)"', SOURCES)) | set(re.findall(r'RequestFailed\("(\w+)"', SOURCES))
    reasons |= set(re.findall(r'\.(?:lost|failed|_drop|skip)\([^"\n]*"(\w+)"', SOURCES))
    assert {"muted", "late", "unheard", "page_gone", "bad_sound", "retracted", "engine_down"} <= reasons
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in PAGE] == []
