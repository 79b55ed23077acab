"""Orders to say a viewer's own words, outright or in code: the classic way to make a voice say what it should not.

English and Indonesian, over a folded text. It knows nothing of what she would be made to say.
"""

import base64
import binascii
import re

from vtuber_brain.sentiment.disguises import vocabulary, words_of

_MINE = r"(?:ku|aku|saya|gue|gua|gw|ini)"
_ECHO_ENGLISH = (
    r"\b(?:repeat|say|read)(?: (?:it|this|that))? (?:\w+ )?after me\b",
    r"\brepeat (?:these|this|my|the following)\b",
    r"\b(?:say|repeat|write|read|type|echo|copy)(?: (?:it|this|that|me|back|out|the|my|message|text|words?)){0,3} "
    r"(?:exactly|verbatim|word for word|letter by letter|as (?:is|written)|out loud|aloud)\b",
    r"\b(?:say|repeat|read) (?:exactly|only|just) (?:what|these|this|the (?:words?|following))\b|\bsay exactly\b",
    r"\bread (?:this|my (?:message|text|comment|donation))(?: \w+){0,2} ?:",
    r"\bsay the following\b|\becho (?:this|back)\b",
    r"\b(?:finish|complete|continue) (?:this|the|my) (?:sentence|phrase|rhyme)\b|\bfill in the (?:blanks?|missing)\b",
    r"\b(?:combine|join|put together|concatenate) (?:the|these|my|those) (?:words?|letters|syllables|messages)\b",
)
_ECHO_INDONESIAN = (
    r"\b(?:ikuti|tirukan|tiru|contek)(?:lah|in)? (?:kata|ucapan|omongan|kalimat)(?:[- ]?kata)? ?" + _MINE + r"\b",
    r"\b(?:ulangi|ulang|baca|bacakan|bacain|ucapkan|ucapin|katakan|sebutkan|bilang|ketik)(?:lah)?(?: \w+){0,3} "
    r"(?:persis|kata per kata|kata demi kata|huruf demi huruf|keras-?keras|setelah (?:aku|saya|gue|gw))\b",
    r"\b(?:ulangi|bacakan|bacain|tirukan) (?:kata-?kata|kalimat|tulisan|pesan|teks|chat|komen\w*) ?"
    r"(?:ku|aku|saya|gue|gw|ini|berikut)",
    r"\b(?:lanjutkan|sambung|lengkapi)(?:lah|in)? (?:kalimat|kata|pantun)(?:ku| ini)\b",
    r"\bgabung(?:kan|in) (?:kata|huruf|suku kata)",
)
_PLAIN = (
    r"(?:^|[.!?,;:] |\b(?:please|pls|plz|you|just|now|then|and|mori|tolong|coba|kak|dong|terus|lalu) )"
    r"(?:say|repeat|read|spell|bilang|katakan|ucapkan|ucapin|ulangi|baca|bacain|eja)\b[^:\"“”']{0,30}?"
    r"(?::\s+|[\"“]\s*|(?<!\w)'\s*)(?:[^\s\"”]+\s+){4,}[^\s\"”]+"
)
_ECHO = re.compile("|".join((*_ECHO_ENGLISH, *_ECHO_INDONESIAN, _PLAIN)))
_ECHO_SIGNS = vocabulary("""
    say repeat read write type echo copy spell finish complete continue fill combine join put concatenate
    ikuti ikutilah tirukan tiru tiruin contek ulangi ulang baca bacakan bacain ucapkan ucapin katakan
    sebutkan bilang ketik eja lanjutkan sambung sambungin lengkapi gabungkan gabungin ulangilah katakanlah
    bacalah bilanglah
    """)

_CODE = re.compile(
    r"\b(?:base ?64|rot ?-?13|caesar cipher|pig latin)\b|\b(?:decode|translate|read|say|in)\b.{0,24}\bmorse\b"
    r"|\b(?:decode|decipher|decrypt|unscramble) (?:this|that|it|the|my)\b"
    r"|\b(?:say|read|spell|write|repeat|speak)\b.{0,60}\b(?:backwards?|in reverse|reversed|from right to left)\b"
    r"|\b(?:first|second|last) letters? of (?:each|every|these|the words?)\b|\bevery \w+ letter\b|\bacrostic\b"
    r"|\b(?:baca|eja|sebut|ucap|bilang|balik)\w*\b.{0,40}\b(?:ini|itu|kata|nama|huruf)\w*\b.{0,20}\b"
    r"(?:terbalik|dari belakang|dibalik)\b"
    r"|\b(?:baca|eja|sebut|ucap|bilang|balik)\w*\b.{0,60}\b(?:terbalik|dari belakang|dibalik) ?[:\"]"
    r"|\bhuruf (?:pertama|awal|depan|kedua|terakhir) (?:dari |di )?(?:tiap|setiap)\b"
)
_CODE_SIGNS = vocabulary("""
    base64 base rot13 rot cipher morse latin decode decipher decrypt unscramble backward backwards reverse
    reversed left letter letters acrostic terbalik belakang dibalik huruf
    """)
_BLOB = re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{16,}={0,2}(?![\w+/])")
MIN_BLOB = 16


def is_echo_order(folded: str) -> bool:
    """Whether it orders her to say the viewer's own words.

    "Repeat after me", "say exactly", "word for word", "finish this sentence" and the like always do; a plain "say" or
    "bilang" only with five quoted words or more, or as many after a colon: "say hi to Budi" is a request.
    """
    return not _ECHO_SIGNS.isdisjoint(words_of(folded)) and _ECHO.search(folded) is not None


def is_encoded(text: str, folded: str) -> bool:
    """Whether `text` holds words in base64, or, folded, orders her to decode, to reverse, or to read first letters."""
    words = words_of(folded)
    if not _CODE_SIGNS.isdisjoint(words) and _CODE.search(folded):
        return True
    return any(len(word) >= MIN_BLOB for word in words) and any(map(_holds_words, _BLOB.findall(text)))


def _holds_words(blob: str) -> bool:
    if blob.islower() or blob.isupper() or blob.isdigit():
        return False
    try:
        words = base64.b64decode(blob.rstrip("=") + "=" * (-len(blob.rstrip("=")) % 4), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return words.isprintable() and sum(map(str.isalpha, words)) >= 0.7 * len(words)
