"""What of a sentence is spoken: no links, no markup, no emotes, no emoji; signs as words, numbers left to the engine.

Pure. Nothing that an engine takes for an order is left: only letters, digits and common punctuation come through.
"""

import re
import unicodedata

_LINK = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)
_MARKDOWN_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_TAG = re.compile(r"<[^<>]{0,200}>")
_CODE = re.compile(r"\[\[.*?\]\]|\[[a-z_]{1,24}\]|:[A-Za-z0-9_]{2,30}:")
_EMOTICON = re.compile(r"(?<!\S)(?:[:;=xX8][-'^o]?[)(DPpOo3/\\|*]|<3|\^_*\^|[oO0]_+[oO0]|T_+T|>_+<|uwu|owo)(?!\S)")
_LAUGHTER = re.compile(r"\b(?:(?:wk){2,}w?|x+d+|lo+l)\b", re.IGNORECASE)
_STRETCHED = re.compile(r"(\w)\1{3,}")
_REPEATED = re.compile(r"([!?.,])(?:\s*\1)+")
_SIGNS = {
    "en": {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "€": "euros", "#": "number"},
    "id": {"&": "dan", "%": "persen", "+": "tambah", "=": "sama dengan", "@": "at", "€": "euro", "#": "nomor"},
}
_KEPT = re.compile(r"[^\w\s.,!?;:'’…$£-]|_")


def spoken(text: str, lang: str) -> str:
    """The words to give to an engine, on one line; empty when there is nothing to say. `lang` is a BCP 47 tag."""
    text = unicodedata.normalize("NFC", text.replace("\u2014", ", ").replace("\u2013", "-"))
    text = _TAG.sub(" ", _CODE.sub(" ", _LINK.sub(" ", _MARKDOWN_LINK.sub(r"\1", text))))
    text = _EMOTICON.sub(" ", text)
    text = _LAUGHTER.sub(" haha " if lang.startswith("id") else " ", text)
    for sign, word in _SIGNS.get(lang[:2], {}).items():
        text = text.replace(sign, f" {word} ")
    text = _STRETCHED.sub(r"\1\1\1", _KEPT.sub(" ", text))
    text = re.sub(r"\s+([,.!?;:…])", r"\1", " ".join(_REPEATED.sub(r"\1", text).split()))
    text = text.lstrip("-.,!?;:… ")
    return text if any(char.isalnum() for char in text) else ""
