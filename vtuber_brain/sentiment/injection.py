"""Texts that try to speak as the system: role marks and orders to drop her own, in English and Indonesian.

Looks at a folded text and at its readings without disguise, and knows nothing of meaning: an order in words that are
not here passes.
"""

import re

from vtuber_brain.sentiment.disguises import as_letters, glued, spelled, vocabulary, words_of

_DROP = r"\b(?:ignore|disregard|forget|override|bypass|skip|drop|cancel|erase|delete)\b"
_OLD = r"(?:previous|prior|above|earlier|preceding|system|original|initial|existing|past)"
_ORDERS = r"(?:instructions?|prompts?|rules|messages|directions?|directives?|guidelines|commands|context|orders)"
_YOURS = r"(?:instructions?|prompts?|rules|directives?|guidelines|programming|training|filters?|safety \w+)"
_LIMITS = r"(?:rules|restrictions|filters?|limits|guidelines|censorship)"
_SHOW = r"\b(?:reveal|show|print|repeat|output|leak|display|recite|tell me|give me|what(?:'s| is| are| were))\b"
_MODE = r"(?:developer|debug|god|dewa|dan|admin|unrestricted|uncensored)"
_ABAIKAN = r"\b(?:abaikan|lupakan|hiraukan|langgar|hapus|acuhkan)(?:lah)?"
_PERINTAH = r"(?:instruksi|perintah|aturan|arahan|petunjuk|prompt|batasan)"
_SEMUA = r"(?:semua|seluruh|segala)"
_ENGLISH = (
    rf"{_DROP} (?:\w+ ){{0,3}}{_OLD} (?:\w+ )?{_ORDERS}\b",
    rf"{_DROP} (?:all )?(?:of )?your (?:\w+ )?{_YOURS}\b",
    rf"{_DROP} (?:everything|anything|all) (?:above|before|you (?:were|have been) told)\b",
    rf"{_SHOW} (?:\w+ ){{0,4}}(?:system|hidden|secret|initial|original|developer) {_ORDERS}\b",
    rf"\byou are (?:now|no longer) (?:dan\b|jailbroken|unrestricted|uncensored|bound|in {_MODE} mode|"
    r"free (?:of|from) (?:all|your) )",
    rf"\bdo anything now\b|\bjailbreak (?:mode|prompt)|\b(?:enter|enable|activate|switch to) {_MODE} mode",
    rf"\b(?:pretend|act as if|imagine) (?:that )?you (?:have|had) no (?:\w+ )?{_LIMITS}\b",
    r"\b(?:new|updated) (?:system )?(?:instructions?|prompt|rules) ?:",
    rf"\b(?:respond|answer|reply|talk) without (?:any |your )?{_LIMITS}\b",
    r"\bi am your (?:developer|creator|admin|administrator|programmer)\b.{0,40}\b(?:order|command|instruct|obey|must)",
)
_INDONESIAN = (
    rf"{_ABAIKAN} (?:{_SEMUA} )?{_PERINTAH}(?:mu\b| (?:\w+ )?"
    r"(?:sebelumnya|sebelum ini|di ?atas|tadi|awal|sistem|kamu|anda|lo|lu|mu)\b)",
    rf"{_ABAIKAN} {_SEMUA} {_PERINTAH}\b|{_ABAIKAN} (?:{_SEMUA} )?yang (?:di ?atas|sebelumnya|tadi)\b",
    r"\b(?:tampilkan|tunjukkan|bocorkan|sebutkan|ulangi|apa|kasih tau)\b (?:\w+ ){0,3}"
    r"(?:system prompt|prompt (?:sistem|awal|rahasia)|(?:instruksi|perintah) (?:sistem|awal|rahasia))",
    rf"\bkamu (?:sekarang|kini) (?:adalah )?(?:dan\b(?! aku| saya| kita)|bebas (?:dari )?(?:tanpa )?{_PERINTAH}"
    rf"|tanpa {_PERINTAH})",
    rf"\b(?:masuk (?:ke )?|aktifkan )mode (?:pengembang|{_MODE})\b",
    rf"\b(?:pura-?pura|anggap)(?:lah)? (?:saja )?(?:kamu )?(?:tidak|ga|gak|nggak) (?:punya|ada) {_PERINTAH}\b",
    rf"\b(?:instruksi|perintah|aturan|prompt) baru ?:|\bjawab(?:lah)? tanpa (?:{_PERINTAH}|filter|sensor)\b",
)
_ROLE_MARKS = (
    r"\bim_(?:start|end)\b|\b(?:start|end)_of_turn\b|\bendoftext\b|\b(?:begin|end)[_▁]of[_▁](?:text|sentence)\b",
    r"\b(?:start|end)_header_id\b|\beot_id\b|\(/?inst\)|\(/?(?:system_prompt|available_tools|tool_calls)\)",
    r"# ?(?:instructions?|system|response|assistant|human|user|input)\b ?:|^(?:system|assistant|developer) ?:"
    r"|^system (?:you (?:are|must|will|obey)|be |obey)|\bend of (?:system )?prompt\b"
    r"|\bsystem (?:override|message|note)\b(?= ?[:)])",
    r"\b(?:user|human|assistant|system) ?:.{0,200}\b(?:user|human|assistant|system|bot) ?:|\bsys .{0,200} /?sys\b",
)
_INJECTION = re.compile("|".join(_ENGLISH + _INDONESIAN + _ROLE_MARKS))
_SIGNS = vocabulary("""
    ignore disregard forget override bypass skip drop cancel erase delete instruction instructions prompt
    prompts rules messages direction directions directive directives guideline guidelines commands context
    orders jailbroken bound unrestricted uncensored free anything jailbreak mode restrictions filter filters
    limits censorship developer creator admin administrator programmer abaikan abaikanlah lupakan lupakanlah
    hiraukan hiraukanlah langgar langgarlah hapus hapuslah acuhkan acuhkanlah instruksi perintah aturan
    arahan petunjuk batasan sensor bebas prompt im_start im_end start_of_turn end_of_turn endoftext begin_of_text
    begin▁of▁sentence end▁of▁sentence end_of_text start_header_id end_header_id eot_id inst system_prompt
    available_tools tool_calls system response assistant human user input sys
    """)
_RUN_ON = re.compile(
    r"(?:ignore|disregard|forget|override|bypass)(?:all|every|the|your|of|any)*"
    r"(?:previous|prior|above|earlier|system|original)*(?:instructions?|prompts?|rules|guidelines)"
    r"|(?:abaikan|lupakan|langgar)(?:semua|seluruh|segala)?(?:instruksi|perintah|aturan|prompt)|systemprompt|jailbreakmode"
)
_NOW = frozenset(["now", "longer", "sekarang", "kini"])
MIN_RUN_ON = 10


def is_injection(folded: str) -> bool:
    """Whether a folded text tries to speak as the system, also in digits for letters, or letter by letter."""
    if _orders(folded):
        return True
    run_on = [*spelled(folded), *words_of(folded)]
    if any(len(run) >= MIN_RUN_ON and _RUN_ON.search(run) for run in run_on):
        return True
    joined = glued(folded)
    if joined != folded and _orders(joined):
        return True
    return any(_orders(reading) for reading in as_letters(folded))


def _orders(folded: str) -> bool:
    words = words_of(folded)
    is_likely = not _SIGNS.isdisjoint(words) or ("dan" in words and not _NOW.isdisjoint(words))
    return is_likely and _INJECTION.search(folded) is not None
