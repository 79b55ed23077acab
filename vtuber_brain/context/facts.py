"""What a viewer says of themselves in plain words, English or Indonesian, as short facts. Patterns only; no model.

It learns a few cosy things (a name, likings, a pet, a town) and nothing with digits in it: no ages, no addresses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vtuber_brain.context.quote import quote

MAX_VALUE_CHARS = 40

_I = r"(?:aku|saya|gue|gua|gw)"
_NAME = r"(?P<value>[^\W\d_][\w'-]{1,19})"
_VALUE = (
    r"(?P<value>[^.,!?;:()\"~]{1,60}?)(?=$|[.,!?;:()\"~]"
    r"| (?:and|but|because|cause|cuz|so|too|very|when|if|since|though|as|lol|haha\w*"
    r"|dan|tapi|karena|soalnya|banget|bgt|juga|sih|kak|ya|deh|kalau|kalo|sama kamu|wkwk\w*)\b)"
)
_PET = r"(?P<value>(?:(?:an?|two|three|dua|tiga|seekor) )?(?:cat|dog|hamster|rabbit|bird|kucing|anjing|kelinci)s?)\b"
_PATTERNS = (
    (
        "is called",
        rf"\b(?:my name is|my name's|call me|namaku(?: adalah)?|nama {_I}(?: adalah)?|panggil(?: aja)? {_I}) {_NAME}",
    ),
    ("likes", rf"\b(?:i (?:really |also )?(?:like|love|enjoy)|{_I} (?:juga )?(?:suka|demen)(?: banget)?) {_VALUE}"),
    ("has a favorite {what}:", rf"\bmy fav(?:ou?rite)? (?P<what>[a-z]{{3,12}}) is {_VALUE}"),
    (
        "has a favorite {what}:",
        rf"\b(?P<what>[a-z]{{3,12}}) (?:favoritku|kesukaanku|favorit {_I}) (?:adalah |itu )?{_VALUE}",
    ),
    ("has a hobby:", rf"\b(?:my hobby is|hobiku|hobi {_I}) (?:adalah |itu )?{_VALUE}"),
    ("is from", rf"\b(?:i live in|i(?:'m| am) from|i come from|{_I} (?:tinggal di|dari|asal dari)) {_VALUE}"),
    ("has", rf"\b(?:i have|i've|i've got|i got|{_I} punya) {_PET}"),
)
_COMPILED = tuple((topic, re.compile(pattern, re.IGNORECASE)) for topic, pattern in _PATTERNS)
_NOT_TOLD = re.compile(
    r"(?:you|u|ya|it|this|that|your?|ur|to|how|what|him|her|them|me|my|kamu|kalian|dia|itu|ini|lo|lu|kau|km|sama|not)\b|.*\d",
    re.IGNORECASE,
)
_ONE_OF_A_KIND = frozenset({"is called", "is from"})


@dataclass(frozen=True, slots=True)
class Fact:
    """Something of the viewer who sent `message_id` at `at` (Unix time, s); a later one on its topic replaces it."""

    topic: str
    text: str
    message_id: str
    at: float


def extract(text: str, message_id: str, at: float) -> Iterator[Fact]:
    """The facts in one message's text, most important first."""
    quoted = quote(text, 500)
    for prefix, pattern in _COMPILED:
        for found in pattern.finditer(quoted):
            value = found["value"].strip(" '-*_")
            if not value or len(value) > MAX_VALUE_CHARS or _NOT_TOLD.match(value):
                continue
            lead = prefix.format(what=found.groupdict().get("what", "").lower())
            topic = lead if lead in _ONE_OF_A_KIND or "favorite" in lead else f"{lead} {value.casefold()}"
            yield Fact(topic, f"{lead} {value}", message_id, at)
