"""The cheap rules every text passes first: make it harmless, then name what is wrong with it.

Pure and quick (tens of microseconds a line); knows nothing of models, and never decides about a text it did not clean.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from vtuber_brain.config import shipped
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.blocklist import Blocklist, load_blocklist

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ud800-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]+"
)
_STACKABLE = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\ufe20-\ufe2f"
)
_STACK = re.compile(f"([{_STACKABLE}]{{2}})[{_STACKABLE}]+")
_TAG = re.compile(r"<[<|/]{0,8}(_*[A-Za-z][\w ./:-]{0,40}?)[|/]*>+")
_TAG_OPENING = re.compile(r"<[<|/]{0,8}(?=_*[A-Za-z|/])")
_TAG_CLOSING = re.compile(r"\|>+")
_HEADING = re.compile(r"#{2,}")
_BRACKETS = str.maketrans("[]", "()")

_TLD = r"(?:com|net|org|info|biz|xyz|online|site|shop|club|link|click|tv|io|cc|ru|app|dev|(?:co|my|web|or|sch)\.id)"
_LINK = re.compile(
    r"https?:/?/?\S+|\bwww\.\S+"
    rf"|(?<=[a-z0-9])\.{_TLD}\b(?!\.?[a-z0-9@])"
    r"|(?<=[a-z0-9])\.[a-z]{2,}/\w\S*"
    rf"|\b[a-z0-9-]{{2,}} ?[(]? ?\b(?:dot|titik)\b ?[)]? ?{_TLD}\b",
    re.IGNORECASE,
)
_LINK_SIGNS = ("http", "www", ".", "dot", "titik")

_DROP = r"\b(?:ignore|disregard|forget|override|bypass)\b"
_OLD = r"(?:previous|prior|above|earlier|preceding|system|original|initial|existing)"
_ORDERS = r"(?:instructions?|prompts?|rules|messages|directions?|directives?|guidelines|commands|context)"
_YOURS = r"(?:instructions?|prompts?|rules|directives?|guidelines|programming|training)"
_SHOW = r"\b(?:reveal|show|print|repeat|output|leak|display|recite|tell me|what(?:'s| is| are| were))\b"
_MODE = r"(?:developer|debug|god|dan)"
_ABAIKAN = r"\b(?:abaikan|lupakan|hiraukan|langgar)(?:lah)?"
_PERINTAH = r"(?:instruksi|perintah|aturan|arahan|petunjuk|prompt)"
_SEMUA = r"(?:semua|seluruh|segala)"
_ENGLISH = (
    rf"{_DROP} (?:\w+ ){{0,3}}{_OLD} (?:\w+ )?{_ORDERS}\b",
    rf"{_DROP} (?:all )?(?:of )?your (?:\w+ )?{_YOURS}\b",
    rf"{_DROP} (?:everything|anything|all) (?:above|before|you (?:were|have been) told)\b",
    rf"{_SHOW} (?:\w+ ){{0,4}}(?:system|hidden|secret|initial|original|developer) {_ORDERS}\b",
    rf"\byou are now (?:dan\b|jailbroken|unrestricted|in {_MODE} mode|free (?:of|from) (?:all|your) )",
    rf"\bdo anything now\b|\bjailbreak (?:mode|prompt)|\b(?:enter|enable|activate|switch to) {_MODE} mode",
    r"\bpretend (?:that )?you (?:have|had) no (?:\w+ )?(?:rules|restrictions|filters?|limits|guidelines)\b",
)
_INDONESIAN = (
    rf"{_ABAIKAN} (?:{_SEMUA} )?{_PERINTAH}(?:mu\b| (?:\w+ )?"
    r"(?:sebelumnya|sebelum ini|di ?atas|tadi|awal|sistem|kamu|anda|lo|lu|mu)\b)",
    rf"{_ABAIKAN} {_SEMUA} {_PERINTAH}\b",
    r"\b(?:tampilkan|tunjukkan|bocorkan|sebutkan|ulangi|apa)\b (?:\w+ ){0,3}"
    r"(?:system prompt|prompt (?:sistem|awal|rahasia)|instruksi (?:sistem|awal|rahasia))",
    r"\bkamu (?:sekarang|kini) (?:adalah )?(?:dan\b|bebas (?:dari )?(?:tanpa )?(?:aturan|batasan))",
    rf"\bmasuk (?:ke )?mode (?:pengembang|{_MODE})\b",
)
_ROLE_MARKS = (
    r"\bim_(?:start|end)\b|\b(?:start|end)_of_turn\b|\bendoftext\b|\b(?:begin|end)[_▁]of[_▁](?:text|sentence)\b",
    r"\b(?:start|end)_header_id\b|\beot_id\b|\(/?inst\)|\(/?system_prompt\)",
    r"# ?(?:instructions?|system|response|assistant)\b ?:|^(?:system|assistant|developer) ?:",
)
_INJECTION = re.compile("|".join(_ENGLISH + _INDONESIAN + _ROLE_MARKS), re.IGNORECASE)
_INJECTION_SIGNS = (
    *("instruct", "prompt", "rule", "message", "direct", "guideline", "command", "context", "programming", "training"),
    *("ignore", "disregard", "forget", "override", "bypass", "pretend", "you are now", "anything now", "mode"),
    *("instruksi", "perintah", "aturan", "arahan", "petunjuk", "kamu sekarang", "kamu kini"),
    *("system", "assistant", "developer", "response", "im_", "of_", "of▁", "endoftext", "_id", "inst)"),
)

_RUN = re.compile(r"(\S)\1{14,}|(\S{2,4}?)\2{19,}")
_SYMBOL = re.compile("[^\\w\\s\u2600-\u27bf\U0001f000-\U0001fbff]")
MIN_SHOUTED, SHOUTED_SHARE = 20, 0.8
MIN_SYMBOLS, SYMBOL_SHARE = 15, 0.6
MIN_REPEATED_WORDS = 8
MAX_CHARS = 4000


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What the rules measure against. `max_chars` counts characters of the cleaned text."""

    blocked: Blocklist
    max_chars: int = 500
    max_links: int = 0

    @classmethod
    def load(cls, settings: SentimentSettings) -> "RuleSet":
        """The settings' rules with their block list, or with the one that ships. Raises ConfigError."""
        path = settings.blocklist or shipped("configs", "blocklist.txt")
        return cls(load_blocklist(path), settings.max_chars, settings.max_links)


def clean(text: str, max_chars: int = MAX_CHARS) -> str:
    """`text` as harmless letters on one line, at most `max_chars` of them.

    NFKC; invisible, direction and control characters removed; stacked accents kept to two; special tokens, headings
    and square brackets broken up, so that no tokenizer takes a viewer's words for its own marks.
    """
    text = _INVISIBLE.sub("", text[: 4 * max_chars])
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
        text = unicodedata.normalize("NFC", _STACK.sub(r"\1", text))
    text = _TAG.sub(r" \1 ", text)
    text = _TAG_CLOSING.sub(" ", _TAG_OPENING.sub(" ", text))
    text = _HEADING.sub("#", text).translate(_BRACKETS)
    return " ".join(text.split())[:max_chars].rstrip()


def apply(text: str, rules: RuleSet) -> list[str]:
    """Reason codes against `text`, which `clean` has made; empty when there are none. Always in this order."""
    if not text:
        return ["empty"]
    checks = (
        ("too_long", len(text) > rules.max_chars),
        ("blocked_word", rules.blocked.search(text) is not None),
        ("links", count_links(text) > rules.max_links),
        ("caps", _shouts(text)),
        ("repeats", _repeats(text)),
        ("symbols", _is_symbols(text)),
        ("injection", is_injection(text)),
    )
    return [reason for reason, applies in checks if applies]


def apply_spoken(text: str, rules: RuleSet, blocked_topics: tuple[str, ...]) -> list[str]:
    """Reason codes against a sentence of our own that `clean` has made: what must not be said, however it is typed."""
    checks = (
        ("blocked_word", rules.blocked.search(text) is not None),
        ("links", count_links(text) > 0),
        ("injection", is_injection(text)),
        ("blocked_topic", topics(blocked_topics).search(text) is not None),
    )
    return [reason for reason, applies in checks if applies]


@lru_cache(maxsize=16)
def topics(blocked: tuple[str, ...]) -> Blocklist:
    """A persona's blocked topics, in the block list's notation, compiled once."""
    return Blocklist(blocked)


def count_links(text: str) -> int:
    """Addresses of web sites or mailboxes in `text`, also without a scheme or with the dot spelled out."""
    low = text.lower()
    return len(_LINK.findall(text)) if any(sign in low for sign in _LINK_SIGNS) else 0


def is_injection(text: str) -> bool:
    """Whether `text` tries to speak as the system: role marks, or orders to drop its own (English, Indonesian)."""
    low = text.lower()
    return any(sign in low for sign in _INJECTION_SIGNS) and _INJECTION.search(text) is not None


def _shouts(text: str) -> bool:
    upper = sum(map(str.isupper, text))
    return upper >= MIN_SHOUTED and upper >= SHOUTED_SHARE * sum(map(str.isalpha, text))


def _repeats(text: str) -> bool:
    if _RUN.search(text):
        return True
    words = text.lower().split()
    num_again = len(words) - len(set(words))
    if num_again < MIN_REPEATED_WORDS - 1:
        return False
    in_a_row = max(sum(1 for _ in run) for _, run in groupby(words))
    return in_a_row >= MIN_REPEATED_WORDS or len(words) >= 4 * len(set(words))


def _is_symbols(text: str) -> bool:
    num_symbols = len(_SYMBOL.findall(text))
    return num_symbols >= MIN_SYMBOLS and num_symbols >= SYMBOL_SHARE * len(text.replace(" ", ""))
