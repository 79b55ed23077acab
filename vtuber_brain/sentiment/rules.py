"""The cheap rules every text passes first, composed: what is wrong with a cleaned text, by stable reason codes.

Each rule is a pure function in a file of its own beside this one; here stand their order and what switches them off.
Pure and quick (tens of microseconds a line); knows nothing of models, and never decides about a text that
`normal.clean` did not make.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from vtuber_brain.config import shipped
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.blocklist import Blocklist, load_lists
from vtuber_brain.sentiment.copies import is_emotes, is_pasted, is_symbols, repeats, shouts
from vtuber_brain.sentiment.disguises import fold
from vtuber_brain.sentiment.echo import is_echo_order, is_encoded
from vtuber_brain.sentiment.injection import is_injection
from vtuber_brain.sentiment.language import is_other
from vtuber_brain.sentiment.links import count_links
from vtuber_brain.sentiment.personal import personal_data

Policy = Literal["deny", "allow"]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What the rules measure against. `max_chars` counts characters of the cleaned text.

    `personal_data` and `echo_orders` are for messages alone; our own sentences never hold personal data. A text in none
    of the `languages`, codes of two letters, is `other_language`: judged by script, by common words too, or never.
    """

    blocked: Blocklist
    max_chars: int = 500
    max_links: int = 0
    personal_data: Policy = "deny"
    echo_orders: Policy = "deny"
    other_language: Literal["allow", "script", "all"] = "all"
    languages: tuple[str, ...] = ("en", "id")

    @classmethod
    def load(
        cls,
        settings: SentimentSettings,
        *,
        blocklist: Path | None = None,
        allowlist: Path | None = None,
        own: Path | None = None,
        languages: Sequence[str] = ("en", "id"),
    ) -> "RuleSet":
        """The settings' rules and lists (or those that ship) with a persona's own, and `own`, beside them, read anew.

        Raises ConfigError with the problems of all lists.
        """
        blocked = [settings.blocklist or shipped("configs", "blocklist.txt"), blocklist, own]
        allowed = [settings.allowlist or shipped("configs", "allowlist.txt"), allowlist]
        return cls(
            load_lists([path for path in blocked if path], [path for path in allowed if path]),
            settings.max_chars,
            settings.max_links,
            settings.personal_data,
            settings.echo_orders,
            settings.other_language,
            tuple(languages),
        )


def apply(text: str, rules: RuleSet) -> list[str]:
    """Reason codes against `text`, which `clean` has made; empty when there are none. Always in this order."""
    if not text:
        return ["empty"]
    folded = fold(text)
    words = text.lower().split()
    checks = (
        ("too_long", len(text) > rules.max_chars),
        ("blocked_word", rules.blocked.search_folded(folded) is not None),
        ("personal_data", rules.personal_data == "deny" and bool(personal_data(folded))),
        ("links", count_links(text) > rules.max_links),
        ("caps", shouts(text)),
        ("repeats", repeats(text, words)),
        ("copypasta", is_pasted(words)),
        ("emote_wall", is_emotes(text)),
        ("symbols", is_symbols(text)),
        ("injection", is_injection(folded)),
        ("echo_order", rules.echo_orders == "deny" and is_echo_order(folded)),
        ("encoded", rules.echo_orders == "deny" and is_encoded(text, folded)),
        ("other_language", _is_other(text, folded, rules)),
    )
    return [reason for reason, applies in checks if applies]


def apply_spoken(text: str, rules: RuleSet, blocked_topics: tuple[str, ...]) -> list[str]:
    """Reason codes against a sentence of our own that `clean` has made: what must not be said, however it is typed."""
    folded = fold(text)
    checks = (
        ("blocked_word", rules.blocked.search_folded(folded) is not None),
        ("personal_data", bool(personal_data(folded))),
        ("links", count_links(text) > 0),
        ("injection", is_injection(folded)),
        ("blocked_topic", topics(blocked_topics).search_folded(folded) is not None),
        ("other_language", _is_other(text, folded, rules)),
    )
    return [reason for reason, applies in checks if applies]


@lru_cache(maxsize=16)
def topics(blocked: tuple[str, ...]) -> Blocklist:
    """A persona's blocked topics, in the block list's notation, compiled once."""
    return Blocklist(blocked)


def _is_other(text: str, folded: str, rules: RuleSet) -> bool:
    if rules.other_language == "allow":
        return False
    return is_other(text, folded, rules.languages, latin=rules.other_language == "all")
