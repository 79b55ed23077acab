"""What nobody may learn from, whatever it says: words taken back or denied, viewers who are forgotten, unwilling or
banned, and replies that repeat such words. Pure; reads nothing by itself.
"""

from dataclasses import dataclass, replace

from vtuber_brain.context.personas import Persona
from vtuber_brain.transcripts.past import Past, Said, Stream
from vtuber_brain.transcripts.quotes import called_by, telling, words_of

QUOTES = "quotes_filtered"
"""Of a reply that repeats words taken back: what it answers was said, but not the reply."""


@dataclass(frozen=True, slots=True)
class Left:
    """A turn, or a whole stream, that nothing is learnt from, by a stable reason."""

    id: str
    reason: str


def why_filtered(stream: Stream, said: Said) -> str | None:
    """Why nothing of a message may be learnt; None where it may."""
    if said.is_forgotten:
        return "viewer_forgotten"
    if said.viewer in stream.unwilling:
        return "viewer_opted_out"
    if said.viewer in stream.banned:
        return "viewer_banned"
    if said.is_retracted:
        return "retracted"
    return "denied" if said.action == "deny" else None


def filtered(stream: Stream, persona: Persona) -> dict[str, str]:
    """By reply: why a turn is no part of the stream that is led through again."""
    gone = _taken_back(stream, persona)
    found: dict[str, str] = {}
    for turn in stream.turns:
        reason = _why_left(stream, turn)
        if reason is None and gone:
            words = words_of(" . ".join((turn.text, *turn.facts)))
            ended_at = turn.hearings[0].at
            if any(at <= ended_at and needle in words for needle, at in gone.items()):
                reason = QUOTES
        if reason is not None:
            found[turn.reply_id] = reason
    return found


def _why_left(stream: Stream, turn: Past) -> str | None:
    if not turn.hearings:
        return "not_heard"
    if turn.message is None:
        return None if turn.musing is not None else "no_message"
    said = stream.said.get(turn.message)
    if said is None:
        return "no_message"
    if reason := why_filtered(stream, said):
        return reason
    if any(hearing.outcome == "retracted" for hearing in turn.hearings):
        return "retracted"
    return "not_judged" if said.let_through is None else None


def unheard(turn: Past) -> Past:
    """The turn as if nothing of the reply had been heard."""
    return replace(turn, text="", hearings=tuple(replace(hearing, heard_text="") for hearing in turn.hearings))


def _taken_back(stream: Stream, persona: Persona) -> dict[str, float]:
    """Words that no reply may repeat, each with when it was written first; those merely denied she never read."""
    ours = {persona.name, persona.display_name.casefold()}
    found: dict[str, float] = {}
    for said in stream.said.values():
        reason = why_filtered(stream, said)
        if reason in (None, "denied"):
            continue
        texts = [said.message.text, *([said.let_through.text] if said.let_through is not None else [])]
        needles = [telling(text) for text in texts]
        name = said.message.author.name
        if reason != "retracted" and name.casefold() not in ours:
            needles.append(called_by(name))
        for needle in needles:
            if needle is not None:
                found[needle] = min(found.get(needle, said.message.at), said.message.at)
    return found
