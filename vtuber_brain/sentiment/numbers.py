"""What a row of digits is: a telephone number, a payment card, an Indonesian resident's number, an IBAN, an IP address.

Arithmetic and shapes alone; what stands around the digits is for personal.py.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from vtuber_brain.sentiment.disguises import words_of

_NAMES = (
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    ("nol", "satu", "dua", "tiga", "empat", "lima", "enam", "tujuh", "delapan", "sembilan"),
    ("oh",),
    ("kosong",),
)
_WORDS = {name: str(digit) for names in _NAMES for digit, name in enumerate(names)} | {"lapan": "8"}
_PROVINCES = frozenset(
    [*range(11, 20), 21, *range(31, 37), *range(51, 54), *range(61, 66), *range(71, 77), 81, 82, *range(91, 98)]
)
_WORD = re.compile(r"[a-z]+|\d+|\+")
_APART = re.compile(r"\D+")
_LETTERS_FOR_DIGITS = str.maketrans("oil", "011")
MIN_SPELLED = 9
MIN_WORDS, MIN_NUMBER_WORDS = 3, 5


def dialled(low: str) -> str | None:
    """The digits of a telephone number written in words or digit by digit ("nol delapan satu ..."), else None."""
    if len(_WORDS.keys() & words_of(low)) < MIN_WORDS:
        return None
    run, num_words = "", 0
    for word in [*_WORD.findall(low), ""]:
        digit = word if word.isdigit() and len(word) <= 4 else _WORDS.get(word)
        if digit is not None:
            run, num_words = run + digit, num_words + word.isalpha()
            continue
        least = MIN_SPELLED - run.startswith("08")
        if num_words >= MIN_NUMBER_WORDS and len(run) >= least and not _is_counting(run):
            return run
        run, num_words = "", 0
    return None


def is_telephone(written: str, *, asked: bool) -> bool:
    """Whether digits as `written`, signs between them included, are a telephone number.

    `asked`: words before it speak of calling, so that its shape need not say it. Letters o, i, l stand for digits only
    among many.
    """
    digits = _APART.sub("", written.translate(_LETTERS_FOR_DIGITS))
    if sum(map(str.isdigit, written)) < 6 or not 7 <= len(digits) <= 15 or len(set(digits)) < 3 or _is_counting(digits):
        return False
    if asked:
        return len(digits) >= 7
    if written.startswith("+"):
        return len(digits) >= 9
    if re.match(r"0?8[1-9]\d{7,10}$|62 ?8[1-9]\d{7,10}$", digits):
        return digits[0] in "06"
    if re.match(r"\(?0\d{1,3}\)?[ -]?\d{6,8}$", written) or re.match(r"\(?0\d{1,3}[) -]+\d{3,4}[ -]\d{3,4}$", written):
        return len(digits) >= 9
    return re.match(r"(?:1[ .-])?\(?[2-9]\d\d\)?[ .-]{1,2}\d{3}[ .-]\d{4}$", written) is not None


def is_card(written: str) -> bool:
    """Whether 13 to 19 digits are a payment card's: issued by a scheme, and right by Luhn's check (ISO/IEC 7812)."""
    digits = _APART.sub("", written)
    if digits[0] not in "3456" or len(set(digits)) < 2 or digits.endswith("000000"):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def is_resident(written: str) -> bool:
    """Whether it is an Indonesian NIK: 16 digits, a province, a date of birth (a woman's day plus 40), a serial."""
    digits = _APART.sub("", written)
    if len(digits) != 16 or int(digits[:2]) not in _PROVINCES:
        return False
    day, month = int(digits[6:8]) % 40, int(digits[8:10])
    return int(digits[6:8]) <= 71 and 1 <= day <= 31 and 1 <= month <= 12 and digits[12:] != "0000"


def is_iban(written: str) -> bool:
    """Whether it is an IBAN, by its check digits (ISO 13616)."""
    account = written.replace(" ", "")
    if not 15 <= len(account) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in account[4:] + account[:4])) % 97 == 1


def is_public_address(parts: Sequence[str]) -> bool:
    """Whether four numbers are an IPv4 address of the public net, and not a version or a machine of one's own."""
    first, second, *_ = values = [int(part) for part in parts]
    if max(values) > 255 or max(values) < 30 or len(set(values)) == 1:
        return False
    private = first in {0, 10, 127} or (first, second) == (192, 168) or (first == 172 and 16 <= second <= 31)
    return not private and first < 224


def _is_counting(digits: str) -> bool:
    steps = {(int(b) - int(a)) % 10 for a, b in pairwise(digits)}
    return len(steps) <= 1 or re.fullmatch(r"(?:0?123456789(?:10)?)+|(?:10)?9?876543210?", digits) is not None
