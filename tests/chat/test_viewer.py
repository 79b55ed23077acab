"""The viewer's terminal: what a line means, what a frame shows, a whole conversation by pipe and by keyboard."""

import asyncio
import contextlib
import os
import pty

import pytest

from tests.chat.paper import Paper
from vtuber_brain.chat.frames import (
    AckFrame,
    BanFrame,
    ClearFrame,
    DeleteFrame,
    DroppedFrame,
    ErrorFrame,
    LostFrame,
    MessageFrame,
    ReplyFrame,
    UtteranceFrame,
    VerdictFrame,
)
from vtuber_brain.chat.viewer import Viewer, author_id, view
from vtuber_brain.errors import Refused, Unavailable
from vtuber_brain.messages import ChatMessage, Retraction


def shown(rows) -> list[str]:
    paper = Paper(is_terminal=False)
    for row in rows:
        paper.console.print(row)
    return paper.lines()


class Seat:
    """A viewer with a clock in the hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.viewer = Viewer("Kopi", "mori", clock=lambda: self.now_s)

    def say(self, text="hi") -> str:
        return self.viewer.typed(text).frame.id

    def hear(self, frame) -> list[str]:
        return shown(self.viewer.heard(frame))


def verdict(id_, action="allow", reasons=()):
    return VerdictFrame(
        id=id_, source="websocket", action=action, reasons=list(reasons), mood=None, scores={}, toxicity=None
    )


def utterance(id_, seq=0, text="Hello.", reply_id="r"):
    origin = {"source": "websocket", "message_id": id_, "author": "Teh", "text": "halo"} if id_ else None
    return UtteranceFrame(
        reply_id=reply_id,
        seq=seq,
        text=text,
        cue={"name": "smile", "intensity": 1, "for_ms": 10} if seq == 0 else None,
        mood=None,
        lang="en",
        final=False,
        in_reply_to=origin,
        created_at=0.0,
    )


def reply(id_, outcome="spoken", reason=None, reply_id="r"):
    return ReplyFrame(
        reply_id=reply_id, outcome=outcome, reason=reason, text="", in_reply_to=id_, source="websocket", timings={}
    )


class TestTyping:
    def test_a_line_is_a_message(self):
        viewer = Viewer(" Kopi ", "mori")
        first, second = viewer.typed("  hi Mori "), viewer.typed("again")
        assert isinstance(first.frame, MessageFrame)
        assert (first.frame.author.id, first.frame.author.name, first.frame.text) == ("kopi", "Kopi", "hi Mori")
        assert shown(first.rows) == ["Kopi › hi Mori"]
        assert first.frame.id != second.frame.id
        assert viewer.pending == {first.frame.id, second.frame.id}

    def test_two_terminals_never_share_an_id(self):
        assert Seat().say() != Seat().say()

    @pytest.mark.parametrize("line", ["", "   ", "\t"])
    def test_nothing_is_nothing(self, line):
        typed = Viewer("Kopi", "mori").typed(line)
        assert (typed.frame, typed.rows, typed.leaving) == (None, (), False)

    def test_commands(self):
        seat = Seat()
        typed = seat.viewer.typed
        last = seat.say()
        assert typed("/delete").frame == DeleteFrame(id=last)
        assert typed("/ban Teh Botol").frame == BanFrame(author_id="teh botol")
        assert typed("/clear").frame == ClearFrame()
        assert typed("/quit").leaving
        assert shown(typed("/as Teh").rows) == ["you are Teh now"]
        assert typed("hi").frame.author.id == "teh"
        assert any("/ban NAME" in line for line in shown(typed("/help").rows))

    @pytest.mark.parametrize(
        ("line", "hint"),
        [
            ("/delete", "there is nothing of yours to take back"),
            ("/as", "/as NAME"),
            ("/ban  ", "/ban NAME"),
            ("/as " + "x" * 101, "/as NAME"),
            ("/dance", "/dance is no command; try /help"),
            ("x" * 4001, "that is 4001 characters; 4000 is the most"),
        ],
    )
    def test_what_cannot_be_done_is_said(self, line, hint):
        viewer = Viewer("Kopi", "mori")
        typed = viewer.typed(line)
        assert typed.frame is None
        assert shown(typed.rows)[0].startswith(hint)
        assert viewer.pending == set()

    def test_a_name_is_needed(self):
        assert Viewer("  ", "mori").name == "viewer"
        assert author_id("KOPI") == author_id("kopi")


class TestHearing:
    def test_a_conversation(self):
        seat = Seat()
        id_ = seat.say()
        seat.now_s = 0.04
        assert seat.hear(AckFrame(of="message", id=id_)) == []
        assert seat.hear(verdict(id_)) == ["✓ allowed 40 ms"]
        seat.now_s = 0.62
        assert seat.hear(utterance(id_)) == ["mori ‹ Hello. smile 0.62 s"]
        assert seat.hear(utterance(id_, 1, "Bye.")) == ["Bye."]
        assert seat.viewer.pending == {id_}
        seat.now_s = 1.5
        assert seat.hear(reply(id_)) == ["spoken 1.50 s"]
        assert seat.viewer.pending == set()

    def test_a_message_that_gets_no_reply(self):
        seat = Seat()
        denied, dropped, refused = seat.say(), seat.say(), seat.say()
        assert seat.hear(verdict(denied, "deny", ["toxic"])) == ["✗ denied toxic 0 ms"]
        assert seat.hear(DroppedFrame(id=dropped, source="websocket", reason="too_old")) == ["✗ dropped too_old 0 ms"]
        error = ErrorFrame(code="rate_limited", detail="too many", of="message", id=refused)
        assert seat.hear(error) == ["✗ not taken: rate_limited: too many"]
        assert seat.viewer.pending == set()

    def test_a_reply_that_failed(self):
        seat = Seat()
        id_ = seat.say()
        assert seat.hear(reply(id_, "failed", "engine_down")) == ["failed engine_down 0 ms"]
        assert seat.viewer.pending == set()

    def test_others_are_shown_when_they_are_answered(self):
        seat = Seat()
        seat.say()
        assert seat.hear(verdict("theirs", "deny", ["toxic"])) == []
        assert seat.hear(DroppedFrame(id="theirs", source="websocket", reason="too_old")) == []
        assert seat.hear(utterance("theirs")) == ["Teh › halo", "mori ‹ Hello. smile"]
        assert seat.hear(utterance("theirs", 1, "Bye.")) == ["Bye."]
        assert seat.hear(reply("theirs")) == ["spoken"]
        assert seat.hear(reply("unheard")) == []
        assert len(seat.viewer.pending) == 1

    def test_words_that_answer_nobody(self):
        assert Seat().hear(utterance(None)) == ["mori ‹ Hello. smile"]

    def test_commands_are_answered(self):
        seat = Seat()
        seat.say()
        seat.viewer.pending.clear()
        for line, of, text in (
            ("/delete", "delete", "taken back"),
            ("/ban x", "ban", "banned"),
            ("/clear", "clear", "chat cleared"),
        ):
            seat.viewer.typed(line)
            assert seat.viewer.pending == {of}
            assert seat.hear(AckFrame(of=of)) == [text]
            assert seat.viewer.pending == set()
        seat.viewer.typed("/clear")
        seat.hear(ErrorFrame(code="rate_limited", detail="", of="clear"))
        assert seat.viewer.pending == set()

    def test_lost_events_are_admitted(self):
        assert seat_lines(LostFrame(count=3)) == ["3 events lost: this terminal is too slow"]


def seat_lines(frame):
    return Seat().hear(frame)


@contextlib.contextmanager
def piped(text: str):
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    yield reading
    os.close(reading)


class TestThroughAPipe:
    async def chat(self, url, text, token=None, **options) -> list[str]:
        paper = Paper(is_terminal=False)
        with piped(text) as stdin:
            async with asyncio.timeout(20):
                await view(url, token, "Kopi", console=paper.console, stdin=stdin, **options)
        return paper.lines()

    async def test_each_line_waits_for_its_fate(self, brain):
        lines = await self.chat(brain.url, "hi Mori\na bad word\n/as Teh\nhalo\n")
        kinds = [line.rsplit(" ", 2)[0] if line.endswith((" ms", " s")) else line for line in lines]
        assert kinds[1:] == [
            "Kopi › hi Mori",
            "✓ allowed · positive 0.90 · toxicity 0.02",
            "mori ‹ Hello there. smile",
            "Stay a while.",
            "spoken",
            "Kopi › a bad word",
            "✗ denied blocklist, caps · negative 0.10 · toxicity 0.02",
            "you are Teh now",
            "Teh › halo",
            "✓ allowed · positive 0.90 · toxicity 0.02",
            "mori ‹ Hello there. smile",
            "Stay a while.",
            "spoken",
        ]

    async def test_commands_reach_the_daemon(self, brain):
        lines = await self.chat(brain.url, "hi\n/delete\n/ban Teh\n/as Teh\nanyone?\n/clear\n/quit\nnever said\n")
        assert [line for line in lines if line in {"taken back", "banned", "chat cleared"}] == [
            "taken back",
            "banned",
            "chat cleared",
        ]
        assert any(line.startswith("✗ dropped banned") for line in lines)
        said = [item.text for item in brain.delivered if isinstance(item, ChatMessage)]
        assert said == ["hi", "anyone?"]
        scopes = [item.scope for item in brain.delivered if isinstance(item, Retraction)]
        assert scopes == ["message", "author", "all"]

    async def test_a_fate_that_never_comes(self, brain):
        lines = await self.chat(brain.url, "mute this\nhi\n", fate_s=0.3)
        assert "no answer within 0 s" in lines
        assert lines[-1].startswith("spoken")

    async def test_the_token(self, serve):
        async with serve(token="s3cret") as brain:
            with pytest.raises(Refused, match="401"):
                await self.chat(brain.url, "hi\n", token="wrong")
            lines = await self.chat(brain.url, "hi\n", token="s3cret")
        assert lines[-1].startswith("spoken")
        assert not any("s3cret" in line for line in lines)

    async def test_nobody_at_home(self, unused_tcp_port):
        with pytest.raises(Unavailable, match="is the daemon running"):
            await self.chat(f"ws://127.0.0.1:{unused_tcp_port}/chat", "hi\n")

    async def test_a_daemon_that_goes_away(self, serve):
        async with serve() as brain:
            chatting = asyncio.create_task(self.chat(brain.url, "mute this\nhi\n"))
            await brain.has_delivered(1)
        with pytest.raises(Unavailable, match="closed the connection"):
            await chatting


class TestAtAKeyboard:
    async def test_type_hear_lose_the_daemon_and_find_it_again(self, serve, unused_tcp_port):
        ours, theirs = pty.openpty()
        paper = Paper()
        chatting = None
        try:
            async with serve(port=unused_tcp_port) as brain:
                chatting = asyncio.create_task(view(brain.url, None, "Kopi", console=paper.console, stdin=theirs))
                await paper.shows("Kopi › ")
                os.write(ours, b"hi M\x7fMori\n")
                await paper.shows("Kopi › hi Mori")
                await paper.shows("spoken")
            await paper.shows("trying again")
            async with serve(port=unused_tcp_port) as brain:
                os.write(ours, b"are you back?\n")
                await brain.has_delivered(1)
                assert brain.delivered[0].text == "are you back?"
                os.write(ours, b"/quit\n")
                async with asyncio.timeout(20):
                    await chatting
        finally:
            if chatting is not None:
                chatting.cancel()
                await asyncio.gather(chatting, return_exceptions=True)
            os.close(ours)
            os.close(theirs)


class TestWhy:
    OF_ANOTHER = {"id": "x", "source": "twitch", "author": "Beni"}  # noqa: RUF012

    def verdict(self, **fields):
        fields = {"action": "allow", "reasons": [], "mood": None, "scores": {}, "toxicity": None, **fields}
        return VerdictFrame(**self.OF_ANOTHER, **fields)

    def test_the_fates_of_others_are_shown_only_when_asked_for(self):
        frames = [self.verdict(), DroppedFrame(**self.OF_ANOTHER, reason="wave")]
        assert [Viewer("Kopi", "mori").heard(frame) for frame in frames] == [[], []]
        told = Viewer("Kopi", "mori", why=True)
        assert [shown(told.heard(frame)) for frame in frames] == [["Beni › ✓ allowed"], ["Beni › ✗ dropped wave"]]

    def test_what_counted_for_the_message_that_was_chosen_stands_below_its_verdict(self):
        why = {"score": 3.25, "parts": {"age": 1.5, "new_viewer": 0.8}, "waiting": 12, "asking": 3}
        rows = shown(Viewer("Kopi", "mori", why=True).heard(self.verdict(why=why)))
        assert rows[1] == "chosen of 12 with 3.25, 3 viewers ask it: age 1.50 · new viewer 0.80"
