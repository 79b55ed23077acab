"""Addresses of web sites and mailboxes in a cleaned text, also without a scheme or with the dot spelled out."""

import re

_TLD = r"(?:com|net|org|info|biz|xyz|online|site|shop|club|link|click|tv|io|cc|ru|app|dev|(?:co|my|web|or|sch)\.id)"
_LINK = re.compile(
    r"https?:/?/?\S+|\bwww\.\S+"
    rf"|(?<=[a-z0-9])\.{_TLD}\b(?!\.?[a-z0-9@])"
    r"|(?<=[a-z0-9])\.[a-z]{2,}/\w\S*"
    rf"|(?<=[a-z0-9-]{{2}}) ?[(]? ?\b(?:dot|titik)\b ?[)]? ?{_TLD}\b",
    re.IGNORECASE,
)
_LINK_SIGNS = ("http", "www", " dot ", "titik", "(dot", " dot)")
_DOTTED = re.compile(r"\w\.[^\W\d]")


def count_links(text: str) -> int:
    """How many there are in `text`."""
    low = text.lower()
    is_likely = ("." in low and _DOTTED.search(low)) or any(sign in low for sign in _LINK_SIGNS)
    return len(_LINK.findall(text)) if is_likely else 0
