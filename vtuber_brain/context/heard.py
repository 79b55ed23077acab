"""What of each reply the audience heard, by what the player says of its sentences (law 5). Pure, and bounded.

A reply of which the player says nothing counts as heard as far as it was said.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vtuber_brain.messages import Played, Retraction, Turn

MAX_REPLIES = 64


@dataclass(slots=True)
class _Reply:
    played: dict[int, Played] = field(default_factory=dict)
    sentences: Sequence[str] = ()
    ended: Turn | None = None
    told: Turn | None = None


class Heard:
    """The last MAX_REPLIES replies, running or over; the oldest is forgotten, and stays as it was told last."""

    def __init__(self) -> None:
        self._replies: OrderedDict[str, _Reply] = OrderedDict()
        self._played_last: _Reply | None = None

    def close(self, turn: Turn, sentences: Sequence[str]) -> Turn:
        """A reply has ended after these sentences; the turn with the part of it that was heard, as far as is known."""
        reply = self._reply(turn.reply_id)
        reply.sentences, reply.ended = tuple(sentences), turn
        reply.told = _as_heard(reply, turn)
        return reply.told

    def own(self, turn: Turn) -> None:
        """The operator's words have been said; they can be skipped, and nothing else is kept of them."""
        reply = self._reply(turn.reply_id)
        reply.sentences, reply.ended = (turn.text,), turn

    def note(self, reply_id: str, seq: int, played: Played) -> Turn | None:
        """The player has spoken of one sentence; the turn anew if that changes what was heard of one that is over."""
        reply = self._reply(reply_id)
        if played != "skipped":  # one that is only left out does not sound, another may
            self._played_last = reply
        if reply.played.get(seq) != "finished":
            reply.played[seq] = played
        if reply.ended is None or reply.told is None:
            return None
        before, reply.told = reply.told, _as_heard(reply, reply.ended)
        return reply.told if reply.told != before else None

    def skip(self) -> Turn | None:
        """The reply that is over and sounds still, and will no more; None when none does.

        As cut by the operator if it was said to its end, else as it was. Only the one that the player played last may
        sound: of others it owes us the end, and they are past.
        """
        reply = self._played_last
        if reply is None or reply.ended is None or not _sounds(reply, reply.ended):
            return None
        self._played_last = None
        if reply.told is None:
            return reply.ended
        if reply.ended.outcome == "spoken":
            reply.ended = replace(reply.ended, outcome="cut", reason="skip")
            reply.told = _as_heard(reply, reply.ended)
        return reply.told

    def retract(self, retraction: Retraction) -> list[Turn]:
        """The replies that are over, in which something was said to words taken back; as retracted, each only once."""
        found = []
        for reply in self._replies.values():
            ended, told = reply.ended, reply.told
            if ended is None or told is None or ended.message is None or ended.outcome == "retracted":
                continue
            if reply.sentences and retraction.covers(ended.message):
                reply.ended = replace(ended, outcome="retracted", reason=retraction.scope)
                reply.told = replace(told, outcome="retracted", reason=retraction.scope)
                found.append(reply.told)
        return found

    def _reply(self, reply_id: str) -> _Reply:
        reply = self._replies.setdefault(reply_id, _Reply())
        self._replies.move_to_end(reply_id)
        if len(self._replies) > MAX_REPLIES:
            self._replies.popitem(last=False)
        return reply


def _sounds(reply: _Reply, ended: Turn) -> bool:
    """Whether the player has not come to the end of it, nor to leave it out at once."""
    if ended.ends_at_once:
        return False
    return any(reply.played.get(seq) in (None, "started") for seq in range(len(reply.sentences)))


def _as_heard(reply: _Reply, turn: Turn) -> Turn:
    """Of a reply that was said to its end, all that was not skipped; of one that was cut, only what was begun."""
    if not reply.played:
        return turn
    whole = turn.outcome == "spoken"
    played = [reply.played.get(seq) for seq in range(len(reply.sentences))]
    wanted = ("started", "finished", None) if whole else ("started", "finished")
    heard = [sentence for sentence, state in zip(reply.sentences, played, strict=True) if state in wanted]
    outcome = "cut" if whole and "skipped" in played else turn.outcome
    return replace(turn, outcome=outcome, heard_text=" ".join(heard))
