"""Every way a corpus can be bad: each has its code, and is told by file, line, field and what was expected."""

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtuber_brain.errors import CorpusError
from vtuber_brain.retrain import corpus_files, corpus_json
from vtuber_brain.retrain.corpora import FORMAT_NAMES, read_corpus
from vtuber_brain.retrain.corpus_checks import CHECKS, MAX_LINE_BYTES, MAX_SHOWN

ROOT = Path(__file__).parents[2]
USER = {"role": "user", "content": "Tono: hello!"}
ANSWER = {"role": "assistant", "content": "[wave] Halo, Tono!"}
GOOD = json.dumps({"messages": [USER, ANSWER]})

CHAT_KEYS = [
    "messages",
    "role",
    "content",
    "weight",
    "name",
    "conversations",
    "from",
    "value",
    "type",
    "text",
    "system",
]
PAIR_KEYS = ["prompt", "completion", "input", "output", "instruction", "id", "topic"]
TURN_KEYS = ["reply", "reply_id", "stream", "message", "verdict", "persona", "at"]
KEYS = st.sampled_from([*CHAT_KEYS, *PAIR_KEYS, *TURN_KEYS])


def chat(*messages, **more):
    return json.dumps({"messages": list(messages), **more})


def told(path, **options):
    """The records complained of, each as (code, line, field), after seeing that file and expectation are named too."""
    with pytest.raises(CorpusError) as caught:
        read_corpus(path, **options)
    for record in caught.value.records:
        assert record.expected.startswith(CHECKS[record.code])
        assert (
            f"{record.file}:{record.line}: {record.field}: {record.code}. Expected" in str(caught.value)
            or not record.line
        )
    return [(record.code, record.line, record.field) for record in caught.value.records]


ROWS = {
    "data_type": ("[1, 2]", "row"),
    "missing_messages_list": (chat(), "messages"),
    "message_missing_key": (chat({"role": "user"}, ANSWER), "messages[0].content"),
    "message_unrecognized_key": (chat({**USER, "mood": "happy"}, ANSWER), "messages[0].mood"),
    "unrecognized_role": (chat({**USER, "role": "viewer"}, ANSWER), "messages[0].role"),
    "missing_content": (chat({**USER, "content": None}, ANSWER), "messages[0].content"),
    "example_missing_assistant_message": (chat(USER), "messages"),
    "message_not_object": (chat("hello", ANSWER), "messages[0]"),
    "empty_assistant": (chat(USER, {**ANSWER, "content": " \n"}), "messages[1].content"),
    "only_system": (chat({"role": "system", "content": "You are Mori."}), "messages"),
    "assistant_first": (chat({"role": "system", "content": "Be."}, ANSWER, USER, ANSWER), "messages[1].role"),
    "assistant_twice": (chat(USER, ANSWER, ANSWER), "messages[2].role"),
    "user_twice": (chat(USER, USER, ANSWER), "messages[1].role"),
    "system_in_middle": (chat(USER, ANSWER, {"role": "system", "content": "Be."}), "messages[2].role"),
    "content_not_text": (chat({**USER, "content": {"a": 1}}, ANSWER), "messages[0].content"),
    "content_part": (
        chat({**USER, "content": [{"type": "text", "text": "x"}, {"type": "image_url"}]}, ANSWER),
        "messages[0].content[1]",
    ),
    "tool_call": (chat(USER, {"role": "tool", "content": "3"}, ANSWER), "messages[1].role"),
    "weight_range": (chat(USER, {**ANSWER, "weight": 1.5}), "messages[1].weight"),
    "no_weight": (chat(USER, {**ANSWER, "weight": 0}), "messages"),
    "special_token": (chat({**USER, "content": "hi<|im_end|>"}, ANSWER), "messages[0].content"),
    "control_character": (chat(USER, {**ANSWER, "content": "Ha\x1blo"}), "messages[1].content"),
    "lone_surrogate": (chat(USER, {**ANSWER, "content": "Ha\ud83d"}), "messages[1].content"),
    "replacement_character": (chat(USER, {**ANSWER, "content": "caf\ufffd"}), "messages[1].content"),
    "message_too_long": (chat(USER, {**ANSWER, "content": "la " * 20_000}), "messages[1].content"),
    "id_type": (chat(USER, ANSWER, id=[1]), "id"),
    "mixed_formats": ('{"input": "hi", "output": "halo"}', "row"),
    "not_json": ("{'input': 'hi'}", "line"),
    "nan": (chat(USER, ANSWER, score=float("nan")), "line"),
    "duplicate_key": ('{"messages": [], "messages": []}', "line"),
    "too_deep": ('{"messages": ' + "[" * 40 + "]" * 40 + "}", "line"),
    "line_too_long": (json.dumps({"messages": "x" * MAX_LINE_BYTES}), "line"),
}


@pytest.mark.parametrize("code", ROWS)
def test_a_bad_row_is_named_by_line_and_field_and_skipped_only_when_asked(tmp_path, code):
    row, field = ROWS[code]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join([GOOD, "", row, GOOD]) + "\n")
    assert told(path) == [(code, 3, field)]
    kept = read_corpus(path, skip_bad=True)
    assert [row.line for row in kept] == [1, 4]
    assert kept.skipped == {code: 1}


def test_what_is_not_utf8_is_a_bad_row(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(GOOD.encode() + b'\n{"input": "caf\xe9"}\n')
    assert told(path) == [("not_utf8", 2, "line")]
    assert read_corpus(path, skip_bad=True).skipped == {"not_utf8": 1}


def test_an_id_may_stand_only_once(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(chat(USER, ANSWER, id=name) for name in ("a", "b", "a")))
    assert told(path) == [("duplicate_id", 3, "id")]


def test_a_last_line_that_was_cut_off_is_told_from_one_that_is_wrong(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(f"{GOOD}\n{GOOD[:30]}")
    assert told(path) == [("torn_row", 2, "line")]
    path.write_text(f"{GOOD}\n{GOOD[:30]}\n")
    assert told(path) == [("not_json", 2, "line")]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("none.jsonl", None, ("missing_file", 0, "path")),
        ("empty.jsonl", b" \n\n", ("empty_file", 0, "file")),
        ("excel.csv", b"\xef\xbb\xbfinput,output\nhi,halo\n", ("bom", 1, "file")),
        ("rows.parquet", b"PAR1\x15\x04\x15", ("binary", 1, "file")),
        ("wide.jsonl", GOOD.encode("utf-16-le"), ("binary", 1, "file")),
        ("torn.jsonl.gz", gzip.compress(os.urandom(50_000).hex().encode())[:9000], ("gzip", 0, "file")),
        ("fake.jsonl.gz", b"\x1f\x8bnot really", ("gzip", 0, "file")),
        ("pretty.jsonl", json.dumps(json.loads(GOOD), indent=1).encode(), ("json_over_lines", 1, "line")),
        ("torn.json", f"[{GOOD},\n{GOOD}".encode(), ("torn_row", 2, "array")),
        ("cut.json", f"[{GOOD},\n{GOOD[:20]}".encode(), ("torn_row", 2, "array")),
        ("comma.json", f"[{GOOD}\n{GOOD}]".encode(), ("not_json", 2, "array")),
        ("trailing.json", f"[{GOOD},\n]".encode(), ("not_json", 2, "array")),
        ("latin.json", b'[\n{"input": "caf\xe9"}]', ("not_utf8", 2, "file")),
        ("two.json", f"[{GOOD}]\n[{GOOD}]".encode(), ("after_array", 2, "file")),
        ("head.csv", b"input,input\nhi,halo\n", ("csv_header", 1, "header")),
        ("return.csv", b"in\rput,output\nhi,halo\n", ("csv_header", 1, "header")),
        ("open.csv", b'"input,output\nhi,halo\n', ("csv_header", 1, "header")),
        ("quote.csv", b'input,output\nhi,"halo\nhey,"hi" x"\n', ("csv_quote", 2, "row")),
        ("gap.csv", b"input,output\nhi,caf\xe9\nhey,halo\n", ("csv_gap", 2, "line")),
    ],
)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_bad_file_is_refused_as_a_whole_whatever_may_be_skipped(tmp_path, name, content, expected, skip_bad):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert told(path, skip_bad=skip_bad)[-1] == expected


def test_a_csv_row_of_the_wrong_width(tmp_path):
    path = tmp_path / "corpus.csv"
    path.write_text('input,output\n"hi\nthere",halo\nhey\nyo,"a, b"\n')
    assert told(path) == [("csv_width", 4, "row")]
    assert [row.line for row in read_corpus(path, skip_bad=True)] == [2, 5]


def test_what_is_no_plain_readable_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert told(tmp_path) == [("directory", 0, "path")]
    assert told(tmp_path / "pipe") == [("not_a_file", 0, "path")]
    assert told(tmp_path / ("long" * 1000)) == [("unreadable", 0, "path")]
    assert told("nul\0.jsonl") == [("unreadable", 0, "path")]


def test_a_file_that_this_user_may_not_read(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(GOOD)
    path.chmod(0)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        assert told(path) == [("no_permission", 0, "path")]
    finally:
        if was_root:
            os.seteuid(0)


def test_a_file_that_changes_between_the_check_and_the_reading_is_not_trained_on(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(f"{GOOD}\n{GOOD}\n")
    corpus = read_corpus(path)
    path.write_text(f"{GOOD}\n")
    with pytest.raises(CorpusError, match="file_changed"):
        next(iter(corpus))


def test_an_array_too_large_to_be_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_json, "MAX_ARRAY_BYTES", 100)
    path = tmp_path / "corpus.json"
    path.write_text(json.dumps([json.loads(GOOD)] * 3))
    assert told(path) == [("array_too_large", 0, "file")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"template": "{speaker: {line}"}, ("template_malformed", 0, "template")),
        ({"template": "{0} {line}"}, ("template_malformed", 0, "template")),
        ({"template": "{line.__class__}"}, ("template_malformed", 0, "template")),
        ({"template": "{line!r}"}, ("template_malformed", 0, "template")),
        ({"template": "{{line}}"}, ("template_no_fields", 0, "template")),
        ({"template": "{speaker}: {line}"}, ("missing_field", 1, "line")),
        ({"template": "{extra}"}, ("content_not_text", 1, "extra")),
        ({"template": "{speaker}", "format": "text"}, ("template_unused", 0, "template")),
        ({"slice": "[1:2:3]"}, ("slice_malformed", 0, "slice")),
        ({"slice": "[:50%"}, ("slice_malformed", 0, "slice")),
        ({"slice": "[1:50%]"}, ("slice_malformed", 0, "slice")),
        ({"slice": "[:3]"}, ("slice_range", 0, "slice")),
        ({"slice": "[:101%]"}, ("slice_range", 0, "slice")),
        ({"slice": "[1:1]"}, ("slice_range", 0, "slice")),
        ({"slice": "test[:1]"}, ("slice_range", 0, "slice")),
        ({"format": "parquet"}, ("unknown_format", 0, "format")),
        ({}, ("unknown_format", 1, "row")),
        ({"format": "openai"}, ("missing_messages_list", 1, "messages")),
        ({"format": "pairs"}, ("missing_field", 1, "input")),
    ],
)
def test_what_was_asked_for_does_not_fit_the_file(tmp_path, options, expected):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"speaker": "Tono", "extra": [1]}\n' * 2)
    if "[" in str(options.get("slice")) and expected[0] == "slice_range":
        path.write_text('{"input": "hi", "output": "halo"}\n' * 2)
    assert expected in told(path, **options)


def test_a_turn_that_is_none(tmp_path):
    path = tmp_path / "turns.jsonl"
    path.write_text('{"reply_id": "r1", "stream": 1, "reply": {"outcome": "sung", "heard_text": "la"}}\n')
    assert told(path)[0] == ("turn_shape", 1, "at")


def test_everything_wrong_is_told_at_once_the_first_fifty_in_full(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join([GOOD, *[ROWS["no_weight"][0], "{", ROWS["user_twice"][0]] * 40, GOOD]) + "\n")
    with pytest.raises(CorpusError) as caught:
        read_corpus(path)
    assert len(caught.value.records) == MAX_SHOWN
    assert caught.value.counts == {"no_weight": 40, "not_json": 40, "user_twice": 40}
    assert str(caught.value.problems[-1]).startswith(f"{path}: 70 more like these. In all: no_weight 40, not_json 40")
    kept = read_corpus(path, skip_bad=True)
    assert (len(kept), kept.skipped) == (2, caught.value.counts)


def test_one_row_may_have_several_things_wrong(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(chat({"role": "viewer", "content": 3, "mood": 1}, {**ANSWER, "weight": -1}, id=True) + "\n")
    assert sorted(told(path)) == [
        ("content_not_text", 1, "messages[0].content"),
        ("id_type", 1, "id"),
        ("message_unrecognized_key", 1, "messages[0].mood"),
        ("unrecognized_role", 1, "messages[0].role"),
        ("weight_range", 1, "messages[1].weight"),
    ]


def test_a_file_of_which_nothing_is_left_is_refused(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text(ROWS["only_system"][0])
    assert told(path, skip_bad=True) == [("empty_file", 0, "file")]


def test_a_line_without_end_costs_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_files, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "corpus.jsonl"
    path.write_text("{" + "x" * 10_000 + "\n" + GOOD + "\n")
    assert [row.line for row in read_corpus(path, skip_bad=True)] == [2]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["user", "gpt", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=150)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=6) | VALUES, min_size=1, max_size=4), st.booleans())
def test_no_json_makes_the_reader_fail_otherwise(tmp_path_factory, rows, as_lines):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) if as_lines else json.dumps(rows))
    read_or_refused(path)


@settings(max_examples=150)
@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"{", b"[", b'[{"input"', b"\x1f\x8b"]),
    st.sampled_from(["csv", "json", "txt"]),
)
def test_no_bytes_make_the_reader_fail_otherwise(tmp_path_factory, content, begin, suffix):
    path = tmp_path_factory.getbasetemp() / f"any.{suffix}"
    path.write_bytes(begin + content)
    read_or_refused(path)


def read_or_refused(path):
    """Whatever is in the file: rows that are in order, or CorpusError."""
    for skip_bad in (False, True):
        try:
            rows = list(read_corpus(path, skip_bad=skip_bad))
        except CorpusError as error:
            assert error.records
        else:
            assert rows


def test_every_check_is_tested_here_and_stands_in_the_docs():
    source, page = Path(__file__).read_text(), ROOT.joinpath("docs/retrain.md").read_text()
    assert not [code for code in CHECKS if f'"{code}"' not in source and f"({code}" not in source]
    assert not [code for code, expected in CHECKS.items() if f"| `{code}` | {expected} |" not in page]
    assert not [name for name in FORMAT_NAMES if f"| `{name}` |" not in page]
    assert len(CHECKS) >= 30
