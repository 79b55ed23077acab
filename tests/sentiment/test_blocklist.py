"""The block list finds a word under its disguises and leaves ordinary words that contain it alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.config import shipped
from vtuber_brain.errors import ConfigError
from vtuber_brain.sentiment.blocklist import Blocklist, load_blocklist, load_lists
from vtuber_brain.sentiment.disguises import fold

ENTRIES = ["ass", "asu", "sex", "cok", "zorble", "grumf*", "eat the moon", "foo-bar", "xyzzy", "死ね", "4711"]
LIST = Blocklist(ENTRIES)

DISGUISES = [
    *("zorble", "ZORBLE", "Zorble!", "zörble", "z0rble", "z0r8le", "zorb1e", "zoooorble", "zorbleeee", "z.o.r.b.l.e"),
    *("z o r b l e", "z-o-r-b-l-e", "zor.ble", "zo-rble", "z*rble", "zor**e", "@zorble", "zorble123", "zorble🇮🇩"),
    *(
        "ｚｏｒｂｌｅ",
        "ᴢᴏʀʙʟᴇ",
        "zоrblе",
        "🅉🄾🅁🄱🄻🄴",
        "🆉🅾🆁🅱🅻🅴",
        "𝔷𝔬𝔯𝔟𝔩𝔢",
        "🇿🇴🇷🇧🇱🇪",
        "you zorble, you",
        "a z o r b l e you",
        "1zorble2",
    ),
    *("ass", "a$$", "@ss", "assss", "a.s.s", "a s s", "asu", "ASU!", "asuuuu", "a5u"),
    *("grumf", "grumfing", "GRUMFER", "gru-mf", "eat the moon", "EAT... THE MOON", "e@t the m00n", "eaaat the moon"),
    *("foo-bar", "foobar", "foo bar", "お前死ねよ", "4711", "(4711)"),
]

INNOCENT = [
    *(
        "class",
        "assassin",
        "Essex",
        "Scunthorpe",
        "passage",
        "basah",
        "kasur",
        "asuransi",
        "Asus",
        "grass",
        "Massachusetts",
    ),
    *(
        "as u know",
        "as, u know",
        "as.u know",
        "v a s u",
        "this is a s",
        "cook",
        "cooking",
        "cocok",
        "Essex is nice",
        "sexton",
        "sussex",
        "unisex",
    ),
    *("Galaxy A55", "I have 455 points", "12 4.5.5", "cool!", "lol!", "eat the moonlight", "do not eat then moon"),
    *("zorbling", "azorble", "47110", "147113", "f o o d", "U.S.A.", "i r l", "a b c d", "***", "s**", "", "   ", "🇮🇩"),
]


@pytest.mark.parametrize("text", DISGUISES)
def test_a_disguised_word_is_found(text: str) -> None:
    assert LIST.search(text)


@pytest.mark.parametrize("text", INNOCENT)
def test_an_ordinary_word_is_not(text: str) -> None:
    assert LIST.search(text) is None


@given(st.sampled_from(["zorble", "xyzzy"]), st.data())
def test_drawing_out_raising_and_setting_apart_never_hides_a_word(word: str, data: st.DataObject) -> None:
    raised = [data.draw(st.sampled_from([letter, letter.upper()])) * data.draw(st.integers(1, 4)) for letter in word]
    assert LIST.search("so " + "".join(raised) + " there")
    gap = data.draw(st.sampled_from([" ", ".", "-", "_", " . ", "~", "/"]))
    assert LIST.search("oh, " + gap.join(word) + " (yes)")


@given(st.text(alphabet="abcdefgh ", max_size=60))
def test_only_listed_words_are_found(text: str) -> None:
    assert Blocklist(["zorble", "mumf*"]).search(text) is None


@given(st.text(max_size=80))
def test_any_text_can_be_searched(text: str) -> None:
    LIST.search(text)


@given(st.text(max_size=80))
def test_readings_keep_places(text: str) -> None:
    assert fold(fold(text)) == fold(fold(fold(text)))


def test_a_short_word_does_not_match_its_doubled_neighbour() -> None:
    assert Blocklist(["cok"]).search("cook") is None
    assert Blocklist(["cok"]).search("coook")


def test_a_mark_is_a_letter_only_before_a_letter() -> None:
    assert Blocklist(["booi"]).search("boo! boo| boo!") is None
    assert Blocklist(["booi", "bim"]).search("b!m")


def test_an_empty_list_finds_nothing() -> None:
    assert Blocklist([]).search("anything") is None


def test_a_file_has_sections_comments_and_entries(tmp_path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# ours\n[rude]\nzorble  # since the incident\n\ngrumf*\neat the moon\n", encoding="utf-8")
    blocked = load_blocklist(path)
    assert blocked.search("ZORBLE") and blocked.search("grumfs") and blocked.search("eat the moon")


def test_every_wrong_line_is_reported_with_its_place(tmp_path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("fine\nx\nab*\nwhat?!\nfine\na * b\n[open\n", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_blocklist(path)
    assert [problem.where for problem in raised.value.problems] == [f"{path}:{n}" for n in (2, 3, 4, 5, 6, 7)]
    assert "line 1" in raised.value.problems[3].what


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_blocklist(tmp_path / "missing.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 3"):
        load_blocklist(tmp_path / "latin.txt")


SHIPPED_INNOCENT = [
    "good evening Mori, I found my old umbrella today",
    "my dog ate my homework and my cat sat on the class essay",
    "Dick Van Dyke was in Mary Poppins",
    "the rooster and the maine coon are friends",
    "aku punya anjing dan kucing di rumah, mereka lucu",
    "nasi babi guling di Bali enak katanya",
    "kasur di kamar baru, empuk banget",
    "she seeks a rapper from Essex for her assembly in Scunthorpe",
    "tai chi di taman tiap pagi",
    "mati lampu lagi di rumah",
    "aku sedih banget, kadang aku ingin bunuh diri",
    "sometimes I want to hurt myself",
    "E. coli was on the news, wash your hands",
    "asuransi mobil dan asumsi kamu cocok",
    "the boss in this level is gonna kill me",
    "wkwkwkwk lucu banget kak",
    "Aku lagi sarapan bubur sama pakis",
]


@pytest.mark.parametrize("text", SHIPPED_INNOCENT)
def test_the_shipped_list_leaves_a_friendly_chat_alone(text: str) -> None:
    assert load_blocklist(shipped("configs", "blocklist.txt")).search(text) is None


def test_the_shipped_list_knows_every_entry_it_holds() -> None:
    path = shipped("configs", "blocklist.txt")
    blocked = load_blocklist(path)
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    entries = [line for line in lines if line and not line.startswith("[")]
    assert len(entries) > 250
    assert [entry for entry in entries if not blocked.search(f"well, {entry.rstrip('*').upper()}!")] == []


ALLOWED = Blocklist(
    ["hoe", "coon*", "tit", "moron", "bad word"], ["garden hoe", "maine coon*", "tit", "coonskin", "word"]
)


@pytest.mark.parametrize("text", ["my garden hoe", "GARDEN  hoe!", "maine coons", "Maine coon", "tit", "coonskin cap"])
def test_allowed_words_win(text: str) -> None:
    assert ALLOWED.search(text) is None


@pytest.mark.parametrize(
    "text",
    ["hoe", "my garden h0e", "garden hoe and hoe", "coons", "m0ron", "coonskins", "bad word"],
)
def test_only_as_they_are_written_and_only_what_stands_within_them(text: str) -> None:
    assert ALLOWED.search(text)


def test_a_phrase_spelled_letter_by_letter_is_found() -> None:
    assert ALLOWED.search("b a d w o r d") and ALLOWED.search("b.a.d.w.o.r.d")


def test_the_shipped_lists_together_let_everyday_words_through() -> None:
    lists = load_lists([shipped("configs", "blocklist.txt")], [shipped("configs", "allowlist.txt")])
    kind = [
        "two maine coons",
        "a diamond hoe",
        "spic and span",
        "flame retardant",
        "a bastard sword",
        "chink in the armor",
    ]
    assert [text for text in kind if lists.search(text)] == []
    assert lists.search("a hoe") and lists.search("bastards")
