"""The board: messages and their fate, replies and theirs, bounded, each change told once to whoever draws."""

import json

from vtuber_brain.panel.board import MAX_CHARS, MAX_REPLIES, MAX_ROWS, Board


def take(board, event, **fields):
    board.take(event, json.dumps({"type": event, **fields}))


def write(board, number, text="hello", author="nadia"):
    who = {"author": author, "author_id": author, "roles": []}
    take(board, "message", id=f"n{number}", source="twitch", text=text, kind="chat", amount=0, at=1.0, **who)


def say(board, reply_id, seq, text, number=None, final=False):
    asked = {"source": "twitch", "message_id": f"n{number}", "author": "nadia", "text": "hello"}
    told = {"mood": None, "created_at": 2.0, "in_reply_to": asked if number is not None else None}
    take(board, "utterance", reply_id=reply_id, seq=seq, text=text, final=final, **told)


def end(board, reply_id, outcome, number=None, reason=None):
    message_id = f"n{number}" if number is not None else None
    told = {"in_reply_to": message_id, "source": "twitch" if number is not None else None, "timings": {"floor": 9.0}}
    take(board, "reply", reply_id=reply_id, outcome=outcome, reason=reason, text="", **told)


def test_however_much_comes_so_much_is_kept():
    board = Board()
    for number in range(MAX_ROWS * 3):
        write(board, number, text="x" * 2 * MAX_CHARS)
        say(board, f"r{number}", 0, "Hi.", number)
        end(board, f"r{number}", "spoken", number)
    rows, replies = board.changed(0)
    assert (len(rows), len(replies)) == (MAX_ROWS, MAX_REPLIES)
    assert rows[-1]["id"] == f"n{MAX_ROWS * 3 - 1}"
    assert len(rows[0]["text"]) == MAX_CHARS
    assert len(board.timings) <= MAX_REPLIES + 1


def test_who_draws_is_told_what_has_changed_since_and_nothing_else():
    board = Board()
    write(board, 1)
    write(board, 2)
    seen = board.version
    assert board.changed(seen) == ([], [])
    take(board, "verdict", id="n1", source="twitch", action="deny", reasons=["links"], mood=None)
    (row,), replies = board.changed(seen)
    assert (row["id"], row["fate"], row["reasons"], replies) == ("n1", "deny", ["links"], [])


def test_a_reply_grows_by_sentences_and_ends_with_its_outcome():
    board = Board()
    write(board, 1)
    say(board, "r", 0, "One.", 1)
    assert board.known("r")["state"] == "saying"
    say(board, "r", 1, "Two.", 1, final=True)
    end(board, "r", "cut", 1, "skip")
    reply = board.known("r")
    assert (reply["said"], reply["state"], reply["reason"]) == (["One.", "Two."], "cut", "skip")


def test_the_operators_own_words_are_said_when_they_are_said():
    board = Board()
    say(board, "r", 0, "Five minutes to go.", final=True)
    assert (board.known("r")["state"], board.known("r")["own"]) == ("spoken", True)


def test_a_reply_that_was_kept_back_tells_what_it_would_have_answered():
    board = Board()
    write(board, 1, text="say something rude")
    end(board, "r", "refused", 1, "blocked_word")
    assert board.known("r")["asked"]["text"] == "say something rude"


def test_words_taken_back_are_gone_from_rows_and_replies():
    board = Board()
    for number, author in enumerate(["nadia", "bram", "bram"]):
        write(board, number, text=f"secret {number}", author=author)
    say(board, "r", 0, "Hi.", 0)
    take(board, "retraction", source="twitch", scope="message", target_id="n0")
    take(board, "retraction", source="elsewhere", scope="all", target_id=None)
    assert [row["text"] for row in board.changed(0)[0]] == ["", "secret 1", "secret 2"]
    assert board.known("r")["asked"]["text"] == ""
    end(board, "r", "retracted", 0)
    assert board.known("r")["said"] == []
    take(board, "retraction", source="twitch", scope="author", target_id="bram")
    assert [row["text"] for row in board.changed(0)[0]] == ["", "", ""]
    write(board, 9, text="again")
    take(board, "dropped", id="n9", source="twitch", reason="banned", author="nadia")
    assert "again" not in json.dumps(board.changed(0)[0])


def test_what_was_lost_on_the_way_is_counted():
    board = Board()
    take(board, "lost", count=3)
    take(board, "lost", count=4)
    assert board.num_lost == 7
