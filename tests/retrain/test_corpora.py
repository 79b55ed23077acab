"""Reading a corpus: each format is known by its content and says the same, whole or in slices, plain or gzip."""

import gzip
import itertools
import json
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtuber_brain.config import shipped
from vtuber_brain.errors import CorpusError
from vtuber_brain.retrain.conversations import Conversation, Message, Text
from vtuber_brain.retrain.corpora import MAX_PARAGRAPH_CHARS, read_corpus
from vtuber_brain.retrain.corpus_slices import Slice, parse_slice, split_path

SAID = (Message("user", "Tono: hello!"), Message("assistant", "[wave] Halo, Tono!"))
SYSTEM = Message("system", "You are Mori.")
CHAT = [{"role": "user", "content": "Tono: hello!"}, {"role": "assistant", "content": "[wave] Halo, Tono!"}]
BE_MORI = {"role": "system", "content": "You are Mori."}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("form", "row", "messages"),
    [
        ("openai", {"messages": CHAT}, SAID),
        ("openai", {"messages": [BE_MORI, *CHAT]}, (SYSTEM, *SAID)),
        ("openai", {"messages": [{"role": "user", "name": "Tono", "content": "hello!"}, CHAT[1]]}, SAID),
        ("openai", {"messages": [{**CHAT[0], "name": "Tono"}, CHAT[1]]}, SAID),
        ("openai", {"messages": [{**CHAT[0], "content": [{"type": "text", "text": SAID[0].content}]}, CHAT[1]]}, SAID),
        ("openai", {"messages": [CHAT[0], {**CHAT[1], "content": " [wave] Halo, Tono!\r\n"}]}, SAID),
        (
            "openai",
            {"messages": [*CHAT[:1], {**CHAT[1], "weight": 0}, *CHAT]},
            (SAID[0], Message("assistant", SAID[1].content, 0.0), *SAID),
        ),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": SAID[0].content}, {"from": "gpt", "value": SAID[1].content}]},
            SAID,
        ),
        ("sharegpt", {"system": "You are Mori.", "conversations": CHAT}, (SYSTEM, *SAID)),
        ("trl", {"prompt": [BE_MORI, CHAT[0]], "completion": [CHAT[1]]}, (SYSTEM, *SAID)),
        (
            "trl",
            {"prompt": [*CHAT, CHAT[0]], "completion": [CHAT[1]]},
            (SAID[0], Message("assistant", SAID[1].content, 0.0), *SAID),
        ),
        ("pairs", {"input": SAID[0].content, "output": SAID[1].content}, SAID),
        ("completion", {"prompt": SAID[0].content, "completion": SAID[1].content}, SAID),
        ("alpaca", {"instruction": SAID[0].content, "input": "", "output": SAID[1].content}, SAID),
        (
            "alpaca",
            {"instruction": "Answer.", "input": "Tono: hello!", "output": SAID[1].content, "system": "You are Mori."},
            (SYSTEM, Message("user", "Answer.\nTono: hello!"), SAID[1]),
        ),
    ],
)
def test_a_conversation_is_understood_in_every_format(tmp_path, form, row, messages):
    path = write(tmp_path / "corpus.jsonl", {**row, "id": 7, "topic": "greetings"})
    corpus = read_corpus(path)
    assert (corpus.format, len(corpus)) == (form, 1)
    assert list(corpus) == [Conversation("7", str(path), 1, messages, {"topic": "greetings"})]


def test_a_corpus_may_be_lines_an_array_a_table_or_packed_whatever_it_is_called(tmp_path):
    row = {"input": "Tono: hello,\nMori!", "output": "Halo!"}
    lines = write(tmp_path / "corpus", row, row)
    (tmp_path / "array").write_text(json.dumps([row, row], indent=2))
    (tmp_path / "table.csv").write_text('input,output\n"Tono: hello,\nMori!",Halo!\n"Tono: hello,\nMori!",Halo!\n')
    (tmp_path / "table.tsv").write_text('output\tinput\nHalo!\t"Tono: hello,\nMori!"\nHalo!\t"Tono: hello,\nMori!"\n')
    (tmp_path / "packed.txt").write_bytes(gzip.compress(lines.read_bytes()))
    found = {}
    for name in ("corpus", "array", "table.csv", "table.tsv", "packed.txt"):
        rows = list(read_corpus(tmp_path / name))
        assert [row.messages for row in rows] == [(Message("user", row["input"]), Message("assistant", "Halo!"))] * 2
        found[name] = [row.line for row in rows]
    assert found == {"corpus": [1, 2], "array": [2, 6], "table.csv": [2, 4], "table.tsv": [2, 4], "packed.txt": [1, 2]}


def test_plain_text_is_read_by_paragraphs_which_joined_are_the_text(tmp_path):
    path = tmp_path / "mori_corpus.txt"
    path.write_text("[wave] Halo!\nI am Mori.\n\n\nI keep lost buttons.\r\n<|endoftext|>\nAnd keys.")
    assert list(read_corpus(path)) == [
        Text("mori_corpus.txt:1", str(path), 1, "[wave] Halo!\nI am Mori."),
        Text("mori_corpus.txt:5", str(path), 5, "I keep lost buttons."),
        Text("mori_corpus.txt:7", str(path), 7, "And keys."),
    ]


def test_a_text_without_paragraphs_is_broken_between_lines_and_words(tmp_path):
    path = tmp_path / "corpus.txt"
    words = [f"word{n}" for n in range(20_000)]
    path.write_text(" ".join(words[:10_000]) + "\n" + "\n".join(words[10_000:]))
    texts = [row.text for row in read_corpus(path)]
    assert " ".join(texts).split() == words
    assert len(texts) > 5
    assert all(len(text) <= 2 * MAX_PARAGRAPH_CHARS for text in texts)


def test_a_template_makes_one_text_of_named_fields(tmp_path):
    path = write(tmp_path / "corpus.jsonl", {"speaker": " Mori", "line": "Halo!", "n": 1, "id": "a"})
    (row,) = read_corpus(path, template="{{{n}}} {speaker}: {line}\n")
    assert row == Text("a", str(path), 1, "{1} Mori: Halo!")
    (path,) = [write(tmp_path / "texts.jsonl", {"text": "Halo!", "lang": "en"})]
    assert [(row.text, row.meta) for row in read_corpus(path)] == [("Halo!", {"lang": "en"})]


def test_the_format_asked_for_wins_over_the_one_that_shows(tmp_path):
    path = write(tmp_path / "corpus.jsonl", {"instruction": "Be kind.", "input": "Tono: hi", "output": "Halo!"})
    (row,) = read_corpus(path, format="pairs")
    assert [message.content for message in row.messages] == ["Tono: hi", "Halo!"]
    (row,) = read_corpus(path, format="text")
    assert row.text == path.read_text().strip()


def test_rows_hash_by_what_they_say_alone(tmp_path):
    path = write(tmp_path / "a.jsonl", {"messages": CHAT, "id": 1}, {"id": 2, "messages": CHAT, "topic": "x"})
    weighed = {"messages": [CHAT[0], {**CHAT[1], "weight": 0.5}]}
    first, second, third = (row.content_hash for row in [*read_corpus(path), *read_corpus(write(path, weighed))])
    assert first == second != third


def test_a_large_file_is_read_in_little_memory(tmp_path):
    path = tmp_path / "corpus.jsonl"
    with path.open("w") as file:
        for n in range(8_000):
            file.write(json.dumps({"input": f"Tono: number {n}? {'la ' * 100}", "output": f"It is {n}."}) + "\n")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_corpus(path)) == 8_000
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 4
    finally:
        tracemalloc.stop()


def test_the_corpora_that_ship_are_in_order():
    for path in sorted(shipped("configs", "personas").glob("*/corpus.jsonl")):
        assert len(read_corpus(path)) > 200


@given(
    st.integers(1, 50),
    st.one_of(st.none(), st.integers(-60, 60)),
    st.one_of(st.none(), st.integers(-60, 60)),
)
def test_a_slice_of_rows_is_pythons_where_all_of_it_is_there(num_rows, start, stop):
    part = parse_slice(f"[{'' if start is None else start}:{'' if stop is None else stop}]")
    rows = list(range(num_rows))
    inside = all(bound is None or abs(bound) <= num_rows for bound in (start, stop))
    if inside and rows[start:stop]:
        assert rows[slice(*part.bounds(num_rows))] == rows[start:stop]
    else:
        with pytest.raises(ValueError, match=r"bounds from|at least one row"):
            part.bounds(num_rows)


@given(st.integers(1, 10_000), st.lists(st.integers(1, 99), unique=True, max_size=5))
def test_slices_of_percents_that_follow_each_other_cover_every_row_once(num_rows, cuts):
    bounds = [0, *sorted(cuts), 100]
    covered = []
    for start, stop in itertools.pairwise(bounds):
        try:
            first, last = parse_slice(f"train[{start}%:{stop}%]").bounds(num_rows)
        except ValueError:
            continue  # too few rows for so small a share
        covered += range(first, last)
    assert covered == list(range(num_rows))


@given(st.integers(1, 10_000), st.integers(1, 99))
def test_percents_from_the_end_are_those_from_the_beginning(num_rows, percent):
    def bounds(text):
        try:
            return parse_slice(text).bounds(num_rows)
        except ValueError:
            return None

    tail, size = bounds(f"[-{percent}%:]"), bounds(f"[:{percent}%]")
    assert (tail is None) == (size is None)
    if tail and size:
        assert tail == (num_rows - size[1], num_rows)


@given(st.text(max_size=30))
def test_no_text_makes_the_slice_reader_fail_otherwise(text):
    try:
        assert isinstance(parse_slice(text), Slice)
    except ValueError as error:
        assert "slice" in str(error) or "rows or percents" in str(error)


def test_a_slice_may_be_written_after_the_path_or_apart(tmp_path):
    path = write(tmp_path / "train.jsonl", *({"input": f"q{n}", "output": f"a{n}"} for n in range(40)))

    def asked(place, **options):
        return [int(row.messages[0].content[1:]) for row in read_corpus(place, **options)]

    assert asked(f"{path}[:3]") == asked(path, slice="[:3]") == asked(path, slice="train[:3]") == [0, 1, 2]
    assert asked(f"{path}[10%:20%]") == [4, 5, 6, 7]
    assert asked(f"{tmp_path}/train[-2:]") == asked(tmp_path, slice="train[-2:]") == [38, 39]
    assert asked(tmp_path, slice="train") == list(range(40))
    with pytest.raises(CorpusError, match="slice_malformed"):
        read_corpus(f"{path}[:3]", slice="[:3]")


def test_a_file_that_is_really_called_like_a_slice_is_the_file(tmp_path):
    path = write(tmp_path / "a[1:2]", {"input": "q", "output": "a"})
    assert split_path(str(path)) == (path, None)
    assert len(read_corpus(path)) == 1


def test_reading_splitting_and_exporting_need_no_torch():
    modules = ("corpora", "corpus_summary", "likeness", "splits", "exports")
    code = f"import sys, importlib\nfor name in {modules}: importlib.import_module('vtuber_brain.retrain.' + name)\n"
    code += "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert told.stdout.strip() == "[]", told.stderr
