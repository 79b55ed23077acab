"""The messages a reply is generated from: the persona's opening, the past turns, and the turn to answer.

Pure, the same for serving and for training. The opening is the persona's and nobody else's: the same bytes for every
viewer, so that its prefix is computed once; what viewers wrote stands in the user role only, as data.
"""

import math
from collections.abc import Sequence

from vtuber_brain.context.memory import Exchange, Recalled
from vtuber_brain.context.personas import Persona
from vtuber_brain.context.quote import quote, quote_name
from vtuber_brain.messages import ChatMessage, Mood
from vtuber_brain.sections import MemorySettings

MAX_TEXT_CHARS = 500
MAX_FACT_CHARS = 120
MAX_REPLY_CHARS = 300
SURE_MOOD = 0.6
_ROLES = frozenset({"system", "assistant", "user", "developer", "tool", "model", "me"})
_DIRECTIONS = {
    "cheer": ("cheers", " with {} bits"),
    "sub": ("just subscribed", ""),
    "gift": ("gives subscriptions to others", ", {} of them"),
    "raid": ("arrives with a raid", " of {} viewers"),
    "redeem": ("redeems a reward", ""),
    "follow": ("begins to follow", ""),
    "announcement": ("makes an announcement", ""),
}
_FEELINGS = {"negative": "{name} sounds unhappy.", "positive": "{name} sounds happy."}


def build(
    persona: Persona,
    recalled: Recalled,
    extra_facts: Sequence[str],
    message: ChatMessage,
    clean_text: str,
    mood: Mood | None,
    settings: MemorySettings,
) -> list[dict[str, str]]:
    """Chat messages (role, content): `opening`, then user and assistant in turn, the last of them the user's.

    `clean_text` is the verdict's text of `message`; `mood` None: unknown. At most `settings.window` past turns and
    `settings.max_chars` characters of them, the newest; at most `settings.facts` facts.
    """
    name = _speaker(persona, message)
    facts = [*recalled.facts, *extra_facts][: settings.facts]
    notes = [f"{name} {quote(fact, MAX_FACT_CHARS)}." for fact in facts if fact.strip()]
    if mood is not None and (feeling := _feeling(persona, mood)) is not None:
        notes.append(feeling.format(name=name))
    if message.num_asking > 1:
        notes.append(f"{message.num_asking} viewers say the same.")
    words = _words(persona, message, clean_text)
    last = f"({' '.join(notes)})\n{words}" if notes else words
    return [*opening(persona), *_past(persona, recalled, settings), _as("user", last)]


def muse(persona: Persona, recalled: Recalled, musing: str, settings: MemorySettings) -> list[dict[str, str]]:
    """Chat messages as `build` gives them, for what she says on her own: `musing` is one of the persona's."""
    return [*opening(persona), *_past(persona, recalled, settings), _as("user", f"({musing.strip()})")]


def opening(persona: Persona) -> list[dict[str, str]]:
    """What every prompt of this persona begins with, byte for byte: her system message and her examples."""
    turns = [
        turn for example in persona.examples for turn in (_as("user", example.heard), _as("assistant", example.says))
    ]
    return [_as("system", persona.system.strip()), *turns]


def _past(persona: Persona, recalled: Recalled, settings: MemorySettings) -> list[dict[str, str]]:
    room = settings.max_chars
    kept: list[dict[str, str]] = []
    for exchange in reversed(recalled.exchanges[-settings.window :]):
        words = _prompted(persona, exchange)
        reply = " ".join(exchange.heard_text.split())[:MAX_REPLY_CHARS]
        room -= len(words) + len(reply)
        if room < 0:
            break
        kept[:0] = [_as("user", words), _as("assistant", reply)]
    return kept


def _prompted(persona: Persona, exchange: Exchange) -> str:
    if exchange.message is None:
        return f"({exchange.musing})"
    return _words(persona, exchange.message, exchange.message.text)


def _words(persona: Persona, message: ChatMessage, text: str) -> str:
    """One viewer's turn: what they did, if it was more than chatting, and `Name: text`."""
    name = _speaker(persona, message)
    said = quote(text, MAX_TEXT_CHARS)
    spoken = f"{name}: {said}" if said else ""
    if message.kind not in _DIRECTIONS:
        return spoken or f"{name}:"
    return f"({name} {_direction(message)}.)\n{spoken}".rstrip()


def _direction(message: ChatMessage) -> str:
    deed, measure = _DIRECTIONS[message.kind]
    has_amount = math.isfinite(message.amount) and message.amount > 0
    return deed + measure.format(f"{message.amount:.12g}") if has_amount else deed


def _feeling(persona: Persona, mood: Mood) -> str | None:
    if mood.scores.get(mood.sentiment, 0.0) < SURE_MOOD:
        return None
    takes_all_alike = mood.sentiment == "negative" and persona.filter.answer_negative == "always"
    return None if takes_all_alike else _FEELINGS.get(mood.sentiment)


def _speaker(persona: Persona, message: ChatMessage) -> str:
    name = quote_name(message.author.name)
    taken = _ROLES | {persona.name, persona.display_name.casefold()}
    return f"viewer {name}" if name.casefold() in taken else name


def _as(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
