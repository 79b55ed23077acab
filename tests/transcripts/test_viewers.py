"""A viewer who wants to be forgotten is: not one byte stays, ids still add up, and nothing comes back late."""

import pytest

from vtuber_brain.errors import ConfigError
from vtuber_brain.transcripts import viewers
from vtuber_brain.transcripts.export import export, stats
from vtuber_brain.transcripts.past import streams
from vtuber_brain.transcripts.quotes import Quoted
from vtuber_brain.transcripts.ratings import edit
from vtuber_brain.transcripts.viewers import (
    find_viewers,
    forget,
    is_scrub_due,
    opt_in,
    opt_out,
    scrub,
    the_viewer,
)

SECRET = "zanzibar marmalade festival"
NAME = "Quillfeather"
REPLY = "Ooh, peregrine pancakes for everybody!"


def xeno(events, id_="x1", text=SECRET, **fields):
    message = events.message(id_, author="u-77", text=text, **fields)
    object.__setattr__(message.author, "name", NAME)
    return message


async def whole_turn(transcripts, events, message, reply=REPLY, **fields):
    await transcripts.append(
        message,
        events.judged(message),
        events.utterance(message, text=reply),
        events.turn(message, text=reply, heard_text=reply, **fields),
    )


def bytes_of(path):
    """Everything on disk: the file, its journal, its index."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir()).lower()


def left(path, *texts):
    found = bytes_of(path)
    return [text for text in texts if text.lower().encode() in found]


async def test_not_a_byte_is_left_in_the_file_or_its_journal_while_the_daemon_writes(opened, path, events, query):
    async with opened() as transcripts:
        for n in range(300):
            await transcripts.append(events.message(f"a{n}", text=f"somebody else says {n} " * 9))
        await whole_turn(transcripts, events, xeno(events), facts=("likes zanzibar",))
        edit(path, "r-x1", "Better: peregrine waffles!", "ana", reason="marmalade")
        await transcripts.append(events.turn(xeno(events), "cut", text=REPLY, heard_text="Ooh, peregrine"))
        await whole_turn(transcripts, events, events.message("m2", text="hi"), reply="Hi Kopi!")
        assert left(path, "zanzibar", "marmalade", "peregrine", NAME) == ["zanzibar", "marmalade", "peregrine", NAME]
        forgotten = forget(path, "websocket", "u-77")
        assert left(path, "zanzibar", "marmalade", "peregrine", NAME) == []
        await transcripts.append(events.message("m3", text="and on she goes"))
    assert left(path, "zanzibar", "marmalade", "peregrine", NAME) == []
    assert (forgotten.num_messages, forgotten.num_replies, forgotten.num_quoting) == (1, 1, 0)
    assert forgotten.is_scrubbed
    assert not is_scrub_due(path)
    assert query("SELECT count(*), count(forgotten_at) FROM messages") == [(303, 1)]
    assert query("SELECT reply_id, heard_text FROM turns") == [("r-x1", ""), ("r-m2", "Hi Kopi!")]
    assert query("SELECT source, author_id, scope FROM forgotten") == [("websocket", "u-77", "all")]
    assert (stats(path)[0].messages, sum(stats(path)[0].turns.values())) == (303, 2)


async def test_without_overwriting_the_bytes_would_be_found(opened, path, events, query, monkeypatch):
    """The proof above sees what it looks for: an emptied row alone leaves bytes in the journal."""
    monkeypatch.setattr(viewers, "MAX_SCRUB_BYTES", 0)
    async with opened() as transcripts:
        await whole_turn(transcripts, events, xeno(events))
        forgotten = forget(path, "websocket", "u-77")
        assert not forgotten.is_scrubbed
        assert left(path, "zanzibar") == ["zanzibar"]
        assert query("SELECT count(*) FROM messages WHERE text LIKE '%zanzibar%'") == [(0,)]
        assert is_scrub_due(path)
        assert scrub(path)
        assert left(path, "zanzibar", "peregrine", NAME) == []
        assert not is_scrub_due(path)


async def test_what_was_on_its_way_is_emptied_as_it_arrives(opened, path, events, query):
    async with opened() as transcripts:
        early = xeno(events, at=1000.0)
        await transcripts.append(early)
        forget(path, "websocket", "u-77", at=2000.0)
        await transcripts.append(events.judged(early))
        await transcripts.append(events.utterance(early, text=REPLY))
        await transcripts.append(events.turn(early, text=REPLY, heard_text=REPLY))
        await transcripts.append(events.turn(early, "cut", text=REPLY, heard_text="Ooh, peregrine"))
        late = xeno(events, "x2", at=1500.0)
        await transcripts.append(late, events.judged(late), events.turn(late, text=REPLY, heard_text=REPLY))
        anew = xeno(events, "x3", "I am back for crumpets", at=3000.0)
        await transcripts.append(anew, events.judged(anew))
    assert left(path, "zanzibar", "peregrine") == []
    assert query("SELECT message_id FROM messages WHERE text <> ''") == [("x3",)]
    assert query("SELECT count(*) FROM hearings WHERE heard_text <> ''") == [(0,)]
    assert query("SELECT count(*) FROM verdicts WHERE text <> '' OR toxicity IS NOT NULL") == [(1,)]


async def test_replies_to_others_that_name_or_quote_them_go_too(opened, path, events, query):
    async with opened() as transcripts:
        await whole_turn(transcripts, events, events.message("m0"), reply="Quillfeather? Nobody here.")
        await whole_turn(transcripts, events, xeno(events, at=500.0))
        for n, reply in enumerate(["quillfeather is right!", "A Zanzibar, marmalade... festival, really?", "Nice."]):
            await whole_turn(transcripts, events, events.message(f"m{n + 1}"), reply=reply)
    forgotten = forget(path, "websocket", "u-77")
    assert forgotten.num_quoting == 3
    assert query("SELECT reply_id FROM turns WHERE heard_text <> ''") == [("r-m3",)]
    assert query("SELECT count(*) FROM messages WHERE text = 'hi Mori'") == [(4,)]


async def test_a_viewer_is_found_by_name_id_or_both_and_never_guessed(opened, path, events):
    async with opened() as transcripts:
        await transcripts.append(events.message("m1", author="kopi"), events.message("m2", author="kopi"))
        await transcripts.append(events.message("m1", author="kopi", source="twitch"))
        await transcripts.append(xeno(events))
    found = {one.key: one.num_messages for one in find_viewers(path, "KOPI")}
    assert found == {"websocket:kopi": 2, "twitch:kopi": 1}
    assert the_viewer(path, "twitch:kopi").source == "twitch"
    assert the_viewer(path, "quillfeather").author_id == "u-77"
    assert the_viewer(path, "u-77").names == (NAME,)
    with pytest.raises(ConfigError, match="2 viewers") as raised:
        the_viewer(path, "Kopi")
    assert {problem.where for problem in raised.value.problems[1:]} == {"websocket:kopi", "twitch:kopi"}
    with pytest.raises(ConfigError, match="nobody"):
        the_viewer(path, "nemo")
    assert the_viewer(path, "twitch:nemo").num_messages == 0


async def test_the_last_choice_about_learning_counts(opened, path, events):
    async with opened() as transcripts:
        await transcripts.append(events.message("m1", author="kopi"), events.message("m2", author="lena"))
    opt_out(path, "websocket", "kopi", "ana")
    opt_out(path, "websocket", "lena", "ana")
    opt_in(path, "websocket", "lena", "ana")
    (stream,) = streams(path)
    assert stream.unwilling == {("websocket", "kopi")}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You said delete it  NOW, right?", True),
        ("now it: delete", False),
        ("marmalades", False),
        ("I do like Marmalade.", True),
        ("oh ana is here", True),
        ("banana", False),
        ("hi", False),
    ],
)
def test_a_quotation_is_whole_words_in_a_row(text, found):
    assert Quoted(["delete it now", "marmalade", "hi", ""], ["Ana", "Al"]).is_in(text) is found


async def test_who_does_not_want_to_be_learnt_from_is_left_out_of_datasets(opened, path, events):
    async with opened() as transcripts:
        for id_, author in (("m1", "kopi"), ("m2", "lena")):
            await whole_turn(transcripts, events, events.message(id_, author=author), reply="Nice.")
    opt_out(path, "websocket", "kopi", "ana")
    assert [turn["message"]["id"] for turn in export(path, willing=True)] == ["m2"]
    assert len(list(export(path))) == 2
    opt_in(path, "websocket", "kopi", "ana")
    assert len(list(export(path, willing=True))) == 2
