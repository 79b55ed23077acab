"""What has happened, as the panel shows it: the latest messages with their fate, and her replies. Bounded; every page
draws from the same board, each what has changed since it drew last.
"""

import itertools
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from vtuber_brain.runtime.clock import unix_s

MAX_ROWS = 200
MAX_REPLIES = 60
MAX_CHARS = 500
TAKEN_BACK = ("retracted", "banned")
Entry = dict[str, Any]


class Board:
    """Fed with the events of the API, in order. An entry's `v` grows with every change of it."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, Entry] = OrderedDict()
        self._replies: OrderedDict[str, Entry] = OrderedDict()
        self._versions = itertools.count(1)
        self.version = 0
        self.num_lost = 0
        self.timings: list[Mapping[str, float]] = []
        """Of the replies that ended since the figures were sampled last; at most MAX_REPLIES."""

    def take(self, kind: str, data: str) -> None:
        """One event as /v1/events gives it."""
        event = json.loads(data)
        match kind:
            case "message":
                self._message(event)
            case "verdict":
                self._judged(event)
            case "dropped":
                self._dropped(event)
            case "retraction":
                self._retract(event)
            case "utterance":
                self._said(event)
            case "reply":
                self._ended(event)
            case "lost":
                self.num_lost += event["count"]

    def changed(self, since: int) -> tuple[list[Entry], list[Entry]]:
        """Rows and replies that changed after version `since`, in the order in which they came."""
        if since >= self.version:
            return [], []
        rows = [row for row in self._rows.values() if row["v"] > since]
        return rows, [reply for reply in self._replies.values() if reply["v"] > since]

    def text_of(self, source: str | None, message_id: str | None) -> tuple[str, str]:
        """Who wrote a message and what; empty where it is not here any more."""
        row = self._rows.get(f"{source} {message_id}")
        return (row["author"], row["text"]) if row is not None else ("", "")

    def rated(self, reply_id: str, rating: int | None, text: str | None = None) -> None:
        """An operator had a word on a reply: every page shows it."""
        if (reply := self._replies.get(reply_id)) is not None:
            reply["rating"] = rating if rating is not None else reply["rating"]
            reply["edited"] = text if text is not None else reply["edited"]
            self._touch(reply)

    def known(self, reply_id: str) -> Entry | None:
        """What is known of a reply."""
        return self._replies.get(reply_id)

    def _message(self, event: Entry) -> None:
        row = self._row(event)
        row |= {"at": event["at"], "kind": event["kind"], "amount": event["amount"], "roles": event["roles"]}
        row |= {
            "author": event["author"][:MAX_CHARS],
            "author_id": event["author_id"],
            "text": event["text"][:MAX_CHARS],
        }
        self._touch(row)

    def _judged(self, event: Entry) -> None:
        row = self._row(event)
        row |= {"fate": event["action"], "reasons": event["reasons"], "mood": event["mood"]}
        self._touch(row)

    def _dropped(self, event: Entry) -> None:
        row = self._row(event)
        row |= {"fate": "dropped", "reasons": [event["reason"]]}
        if event["reason"] in TAKEN_BACK:
            _empty(row)
        self._touch(row)

    def _retract(self, event: Entry) -> None:
        for row in self._rows.values():
            if row["source"] == event["source"] and _is_meant(row, event):
                _empty(row)
                self._touch(row)
        for reply in self._replies.values():
            asked = reply["asked"]
            one = (asked["source"], asked["id"]) if asked and event["scope"] == "message" else None
            if one == (event["source"], event["target_id"]):
                reply["asked"] = asked | {"text": "", "author": ""}
                self._touch(reply)

    def _said(self, event: Entry) -> None:
        reply, asked = self._reply(event["reply_id"]), event["in_reply_to"]
        if asked is not None:
            text, author = asked["text"][:MAX_CHARS], asked["author"][:MAX_CHARS]
            asked = {"source": asked["source"], "id": asked["message_id"], "author": author, "text": text}
        own_words = asked is None and event["final"] and event["seq"] == 0
        reply |= {"asked": asked, "mood": event["mood"], "at": event["created_at"]}
        reply["said"] = [*reply["said"], event["text"]]
        reply |= {"state": "spoken" if own_words else "saying", "own": own_words}
        self._touch(reply)

    def _ended(self, event: Entry) -> None:
        reply = self._reply(event["reply_id"])
        if not reply["said"] and event["in_reply_to"] is not None:  # nothing of it was ever heard
            author, text = self.text_of(event["source"], event["in_reply_to"])
            told = {"source": event["source"], "id": event["in_reply_to"], "author": author, "text": text}
            reply |= {"asked": told, "at": unix_s()}
        reply |= {"state": event["outcome"], "reason": event["reason"], "timings": event["timings"]}
        if event["outcome"] == "retracted":
            reply |= {"said": [], "asked": None}
        self.timings = [*self.timings[-MAX_REPLIES:], event["timings"]]
        self._touch(reply)

    def _row(self, event: Entry) -> Entry:
        key = f"{event['source']} {event['id']}"
        row = self._rows.get(key)
        if row is None:
            blank = {"key": key, "id": event["id"], "source": event["source"], "author": "", "author_id": ""}
            row = blank | {"text": "", "at": 0.0, "kind": "chat", "amount": 0, "roles": [], "gone": False}
            row |= {"author": event.get("author", ""), "fate": "waiting", "reasons": [], "mood": None}
            self._rows[key] = row
            if len(self._rows) > MAX_ROWS:
                self._rows.popitem(last=False)
        return row

    def _reply(self, reply_id: str) -> Entry:
        reply = self._replies.get(reply_id)
        if reply is None:
            reply = {"id": reply_id, "asked": None, "said": [], "state": "saying", "reason": None, "mood": None}
            reply |= {"at": 0.0, "timings": {}, "rating": None, "edited": None, "own": False}
            self._replies[reply_id] = reply
            if len(self._replies) > MAX_REPLIES:
                self._replies.popitem(last=False)
        return reply

    def _touch(self, entry: Entry) -> None:
        entry["v"] = self.version = next(self._versions)


def _is_meant(row: Entry, event: Entry) -> bool:
    match event["scope"]:
        case "message":
            return bool(row["id"] == event["target_id"])
        case "author":
            return bool(row["author_id"] == event["target_id"])
    return True


def _empty(row: Entry) -> None:
    row |= {"text": "", "gone": True}
