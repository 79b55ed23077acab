"""Characters that look like a Latin letter and that no normal form of Unicode makes one, by the letter they look like.

The letters and digits among the confusables of ASCII letters in Unicode's security data (UTS 39; a test holds the
table against the package confusable-homoglyphs, which carries it), small capitals, and a few of Cyrillic and Greek that
viewers use. A table of ours, because that package takes 86 us a line and 15 MB of the daemon's memory to say the same;
anyascii is quick but transliterates by sound, and turns a Cyrillic p into an r.
"""

_LIKE = {
    "a": "ɑαаᎪᗅᴀꓮ𐊠𖽀",
    "b": "ɓƀƅʙβвьᏏᏴᑲᖯᗷꓐꞵ𐊂𐊡𐌁",
    "c": "ƈсᏟᴄⲥꓚ𐊢𐌂𐐽𐔜𑣩𑣲",
    "d": "ɗɖđԁᎠᏧᑯᗞᗪᴅꓒꓓ",
    "e": "ɛəεеҽᎬᴇⴹꓰꬲ𐊆𑣆𑣎",
    "f": "ƒϝғքᖴẝꓝꞙꬵ𐊇𐊥𐔥𑣂",
    "g": "ɠƍɡɢԍցᏀᏳᶃꓖ",
    "h": "ɦħʜнһհᎻᏂᕼⲏꓧ𐋏",
    "i": "ıɩɪιіᎥꙇ",
    "j": "ʝϳјᎫᒍᴊꓙ",
    "k": "ƙκкᏦᛕᴋⲕꓗ𐔘",
    "l": "łǀʟӏ۱Ꮮᒪᛁⲓⳑⵏꓡꓲ𐊊𐌉𐌠𐑃𐔦𑣃𑣒𖼖𖼨",
    "m": "ɱμϻмᎷᗰᛖᴍⲙꓟ𐊰𐌑",
    "n": "ɲɳŋɴηпոռⲛꓠ𐔓",
    "o": "øοσоօ۵०০੦૦ଠ୦௦౦೦ഠ൦๐໐ဝ၀ჿዐᴏᴑⲟⵔ〇ꓳꬽ𐊒𐊫𐐬𐓪𐔖𑓐𑣈𑣕𑣗𑣠",
    "p": "ƥρрᏢᑭᴘⲣꓑ𐊕",
    "q": "ԛգզⵕ",
    "r": "ɾɽʀгᎡᎱᏒᖇᴦⲅꓣꭇꭈ𐓜𖼵",
    "s": "ʂʃƽѕտᏕᏚꓢꜱ𐊖𐑈𑣁𖼺",
    "t": "ƭʈŧτтᎢᴛⲧꓔ𐊗𐊱𐌕𖼊",
    "u": "ʋυսሀᑌᴜꓴꞟꭎꭒ𐓶𑣘𖽂",
    "v": "νѵ۷Ꮩᐯᴠⴸꓦꛟ𐔝𑜆𑣀𖼈",
    "w": "ɯωѡԝաᎳᏔᴡꓪ𑜊𑜎𑜏𑣦𑣯",
    "x": "χхᕁᕽᚷⲭⵝꓫꭓ𐊐𐊴𐌗𐌢𐔧𑣬",
    "y": "ɣʏγуүყᎩᎽᶌỿⲩꓬꭚ𐊲𑣜𖽃",
    "z": "ʐƶζᏃᴢꓜ𐋵𑣄𑣉𑣥",
}
LETTERS: dict[int, str] = {ord(char): letter for letter, chars in _LIKE.items() for char in chars}
"""For `str.translate`: from a small letter's double, lower case and without accents, to the letter."""
CAPITALS: dict[int, str] = {ord(char): letter for char, letter in zip("ΗΥΝΧΒςſ", "hynxbcs", strict=True)}
"""The same for those that only look so before they are made small, as a capital eta does."""
