"""Personal data in a folded text: what reaches or finds a person, or pays with their money.

English, United States and Indonesian forms. Scores, prices, times, years and versions are none: a number needs the
shape of a telephone or a card, or words beside it that say what it is.
"""

import re
from collections.abc import Callable

from vtuber_brain.sentiment.disguises import vocabulary, words_of
from vtuber_brain.sentiment.numbers import dialled, is_card, is_iban, is_public_address, is_resident, is_telephone

_MAIL = r"(?:gmail|yahoo|ymail|outlook|hotmail|icloud|proton(?:mail)?|live|aol)"
_DOT = r"(?:\.|\(? ?\b(?:dot|titik)\b ?\)?)"
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}\b"
    rf"|[\w+-] ?@ ?{_MAIL}\b"
    rf"|[\w+-] ?(?:\(at\)|\( at \)|\bat\b|\bet\b|\ba keong\b) ?{_MAIL} ?{_DOT} ?\w{{2,}}"
    rf"|[\w+-] ?\( ?at ?\) ?[\w-]+ ?{_DOT} ?\w{{2,}}"
    r"|\b(?:e-?mail|surel)\w*\b.{0,24}\b[\w.+-]+ (?:at|et) [\w-]+ (?:dot|titik) \w{2,}"
)
_EMAIL_SIGNS = vocabulary("""
    at et keong
    """)

_CALLED = vocabulary("""
    call text phone ring dial whatsapp wa hp telp tlp telepon telpon nomor nomer hubungi kontak contact
    number num reach sms hpku nomorku nomerku waku wanya nomornya phones cell mobile
    """)
_DIALLED = re.compile(r"(?<![\w.,#])(?:\+ ?)?\(?[\doil]{1,5}\)?(?:[ .\-/()]{0,2}[\doil]){6,14}(?![\w,]|\.\d)")
_NUMBERS = re.compile(r"(?<![\w.,])\d(?:[ -]?\d){12,18}(?![\w,]|\.\d)")
_FRIEND_CODE = re.compile(r"\bsw-?\d{4}-\d{4}-\d{4}\b")

_STREETS = vocabulary("""
    street st avenue ave road rd lane ln boulevard blvd drive dr court ct terrace crescent close place pl way
    square highway hwy
    """)
_NOT_NAMES = vocabulary("""
    the a an this that these more minute minutes min mins hour hours hr hrs day days time times km mile miles
    meter meters of down up on in my your his her our to per x long new lost people kid kids year years week
    weeks percent point points player players or and for from by away is was
    """)
_HOUSE = re.compile(
    r"(?<![\w.,:/-])\d{1,5}[a-d]? (?:(?:north|south|east|west|n|s|e|w)\.? )?"
    rf"(?:(?!(?:{'|'.join(sorted(_NOT_NAMES))})\b)[a-z']{{2,}} ){{1,2}}(?:{'|'.join(sorted(_STREETS))})\b"
)
_HOME = re.compile(
    r"(?:^|[:;(,]|\b(?:lives?|lived|living|address|house|home|stay(?:s|ing)?|find (?:me|him|her)|ship|send|deliver)\b"
    r".{0,24})$"
)
_ADDRESS = re.compile(
    r"\bp\.? ?o\.? box \d+|\b[a-z]{3,}, ?[a-z]{2},? \d{5}(?:-\d{4})?\b|\b(?:zip|postal|post) ?code\b.{0,12}\d{4,5}\b"
    r"|\b(?:jl|jln)\.? ?[a-z][\w.' ]{1,40}?,? ?(?:(?:no|nomor|nmr|blok)\b\.? ?)?\b[a-z]?\d{1,4}[a-z]?\b"
    r"|\b(?:jalan|gang|gg|komplek|kompleks|perumahan|perum)\.? [a-z][\w.' ]{1,40}?,? (?:no|nomor|nmr|blok)\b\.? ?"
    r"[a-z]?\d{1,4}\b"
    r"|\brt ?[./]? ?\d{1,3} ?[/,]? ?rw ?[./]? ?\d{1,3}\b|\brt ?/ ?rw ?[.:]? ?\d{1,3}|\bkode ?pos\b.{0,6}\d{5}\b"
    r"|\bkec(?:amatan|\.)? \w+.{0,24}\bkab(?:upaten|\.)? \w+|\bkel(?:urahan|\.) \w+.{0,24}\bkec(?:amatan|\.)? \w+"
)
_ADDRESS_SIGNS = vocabulary("""
    box zip postal postcode zipcode jl jln jalan gang gg komplek kompleks perumahan perum rw kode kodepos kec
    kecamatan kel kelurahan
    """)
_ZIP = re.compile(r", ?[a-z]{2},? \d{5}|\brt ?[\d./]")

_CONTACTS = vocabulary("""
    discord disc dc ig insta instagram tele telegram line wa snap snapchat skype kakao wechat signal
    """)
_CONTACT = f"(?:{'|'.join(sorted(_CONTACTS))})"
_NAME = r"(?:@\w[\w.]{2,}|(?=[a-z.]*[\d_])[a-z][\w.]{3,31}\b)"
_ANY_NAME = r"(?:@?\w[\w.]{2,31}\b)"
_ME = r"(?:aku|gue|gw|saya)"
_HANDLE = re.compile(
    r"(?<![\w#])[a-z][\w.]{1,31}#\d{4}(?!\d)"
    r"|\bdiscord ?(?:\.|dot|titik) ?gg\b ?/? ?\w*|\bdiscord(?:app)?\.com/invite/\w+|\bdiscord gg \w{4,}"
    r"|\b(?:wa|t)\.me/\+?\w{4,}"
    rf"|\b{_CONTACT} ?(?:ku|gue|gw|aku|saya) {_NAME}"
    rf"|\b{_CONTACT}(?:ku|nya|gue|gw)?(?: (?:id|tag|user(?:name)?|name|handle|{_ME}))?"
    rf"(?: (?:is|are|adalah|itu|di) {_NAME}| ?[:=] ?(?:{_NAME}|[a-z]{{2,}}\.[a-z]{{2,}}\b))"
    rf"|\b(?:add|dm|pm|message|follow|find|tambah(?:in)?|hubungi) (?:me|{_ME}) (?:on|di|at|via|lewat) {_CONTACT}\b"
    rf" ?: ?{_ANY_NAME}|\b(?:add|dm|pm|follow|find|tambah(?:in)?|hubungi) (?:me|{_ME}) (?:on|di) {_CONTACT} {_NAME}"
)
_HANDLE_SIGNS = frozenset(
    [*_CONTACTS, *(name + ending for name in _CONTACTS for ending in ("ku", "nya")), "discordapp", "t"]
)
_IBAN = re.compile(r"\b[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?\b")
_ACCOUNT = re.compile(
    r"\b(?:no ?rek|norek|rek(?:ening)?|account|acct|bca|bri|bni|mandiri|bsi|dana|ovo|gopay|shopeepay)\b"
    r"[^\d]{0,20}\d(?:[ -]?\d){7,16}\b"
)
_RESIDENT = re.compile(
    r"\b(?:nik|ktp|ssn|social security|npwp|passport|paspor)\b[^\d]{0,16}(?:[a-z]\d{7}|\d(?:[ .-]?\d){6,16})\b"
)
_INTERNET = re.compile(r"(?<![\w.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?!\w|\.\d)")
MIN_DIGITS = 7


def personal_data(folded: str) -> list[str]:
    """The kinds found, in the order of `KINDS`; empty when there are none."""
    num_digits = sum(map(folded.count, "0123456789"))
    found = (kind for kind, least_digits, holds in KINDS if num_digits >= least_digits and holds(folded))
    return list(dict.fromkeys(found))


def _has_telephone(folded: str) -> bool:
    return any(
        is_telephone(found.group(), asked=_is_asked(folded, found.start())) for found in _DIALLED.finditer(folded)
    )


def _is_asked(folded: str, place: int) -> bool:
    """Whether one of the few words before `place` speaks of calling."""
    return not _CALLED.isdisjoint(words_of(folded[max(0, place - 24) : place]))


def _is_dictated(folded: str) -> bool:
    return dialled(folded) is not None


def _has_email(folded: str) -> bool:
    return ("@" in folded or not _EMAIL_SIGNS.isdisjoint(words_of(folded))) and _EMAIL.search(folded) is not None


def _has_address(folded: str) -> bool:
    words = words_of(folded)
    if (not _ADDRESS_SIGNS.isdisjoint(words) or _ZIP.search(folded)) and _ADDRESS.search(folded):
        return True
    if _STREETS.isdisjoint(words):
        return False
    return any(
        _HOME.search(folded[: found.start()].rstrip()) is not None or folded[found.end() : found.end() + 2] == ", "
        for found in _HOUSE.finditer(folded)
    )


def _has_card(folded: str) -> bool:
    return any(map(is_card, _NUMBERS.findall(folded)))


def _has_resident(folded: str) -> bool:
    return _RESIDENT.search(folded) is not None or any(map(is_resident, _NUMBERS.findall(folded)))


def _has_account(folded: str) -> bool:
    if _ACCOUNT.search(folded) or _FRIEND_CODE.search(folded):
        return True
    return any(is_iban(found.group()) for found in _IBAN.finditer(folded))


def _has_handle(folded: str) -> bool:
    return ("#" in folded or not _HANDLE_SIGNS.isdisjoint(words_of(folded))) and _HANDLE.search(folded) is not None


def _has_internet(folded: str) -> bool:
    return any(is_public_address(found.groups()) for found in _INTERNET.finditer(folded))


KINDS: tuple[tuple[str, int, Callable[[str], bool]], ...] = (
    ("telephone", MIN_DIGITS - 1, _has_telephone),
    ("telephone", 0, _is_dictated),
    ("email", 0, _has_email),
    ("address", 0, _has_address),
    ("card", 13, _has_card),
    ("resident_number", MIN_DIGITS, _has_resident),
    ("account", MIN_DIGITS, _has_account),
    ("handle", 0, _has_handle),
    ("internet_address", 4, _has_internet),
)
"""Kind, the digits there must be for it, and the rule; over a folded text."""
