"""The classifier's child: real processes on a real socketpair, with small random models."""

import json
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from tests.support.encoders import tiny_encoder
from vtuber_brain.errors import ModelRefused
from vtuber_brain.runtime.line import Deframer, NotReady, Ping, Pong, Ready, Stop
from vtuber_brain.sentiment import model as sentiment_model
from vtuber_brain.sentiment.model import load, quickest, settle_threads
from vtuber_brain.sentiment.wire import Classify, Configure, Failed, Moods, protocol
from vtuber_brain.sentiment.worker import plan

TEXTS = ["gg", "what a great stream", "it is awful and bad " * 9, "halo 😂😂 @mori http://x.y", "", "mantap!!!!!!!!"]


def configure(model, lora=None, labels=None, max_batch=4):
    return Configure(str(model), lora and str(lora), labels or {}, threads=1, max_tokens=64, max_batch=max_batch)


class Peer:
    """The daemon's end, blocking."""

    def __init__(self, ours, process):
        self.process, self._socket, self._protocol, self._deframer = process, ours, protocol(), Deframer()
        self._socket.settimeout(90)
        self._arrived = []

    def send(self, *messages):
        self._socket.sendall(b"".join(self._protocol.encode(message) for message in messages))

    def receive(self):
        while not self._arrived:
            data = self._socket.recv(65536)
            assert data, "the child closed the line"
            self._arrived += [self._protocol.decode(body) for body in self._deframer.feed(data)]
        return self._arrived.pop(0)

    def hang_up(self):
        self._socket.close()


@contextmanager
def child(first):
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "vtuber_brain.sentiment.worker", "--fd", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True)
    theirs.close()
    peer = Peer(ours, process)
    try:
        peer.send(first)
        yield peer
    finally:
        ours.close()
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def peer(model):
    with child(configure(model)) as peer:
        ready = peer.receive()
        assert isinstance(ready, Ready)
        assert ready.facts["model"] == str(model)
        assert ready.facts["has_toxicity"] is True
        assert ready.facts["load_s"] > 0
        yield peer


def close_to(mood):
    return pytest.approx(mood.scores, abs=1e-5)


def test_requests_waiting_together_are_answered_each_in_its_own_order(model, peer):
    alone = load(configure(model))
    peer.send(Classify(1, TEXTS), Classify(2, []), Classify(3, TEXTS[::-1]))
    answers = {answer.id: answer for answer in (peer.receive(), peer.receive(), peer.receive())}
    assert answers[2].moods == []
    for said, texts in ((answers[1].moods, TEXTS), (answers[3].moods, TEXTS[::-1])):
        for mood, text in zip(said, texts, strict=True):
            (expected,) = alone.moods(alone.ids([text]))
            assert mood.scores == close_to(expected)
            assert mood.toxicity == pytest.approx(expected.toxicity, abs=1e-5)


def test_a_ping_is_answered(peer):
    peer.send(Ping(41))
    assert peer.receive() == Pong(41)


def test_moods_are_those_of_transformers(model):
    plain, tokenizer = AutoModelForSequenceClassification.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    with torch.inference_mode():
        logits = plain.eval()(**tokenizer("what a great stream", return_tensors="pt")).logits[0]
    ours = load(configure(model))
    (mood,) = ours.moods(ours.ids(["what a great stream"]))
    assert list(mood.scores.values()) == pytest.approx(logits[:3].softmax(-1).tolist(), abs=1e-5)
    assert mood.toxicity == pytest.approx(float(logits[3].sigmoid()), abs=1e-5)


def test_half_precision_says_nearly_the_same_and_is_taken_only_where_it_is_faster(model):
    ours = load(configure(model))
    half = ours.in_bf16()
    assert (ours.dtype, half.dtype) == ("float32", "bfloat16")
    for text in TEXTS:
        ((exact,), (rough,)) = (one.moods(one.ids([text])) for one in (ours, half))
        assert rough.scores == pytest.approx(exact.scores, abs=0.02)
        assert rough.toxicity == pytest.approx(exact.toxicity, abs=0.02)
    assert quickest(ours) is ours  # so small a model gains nothing


def test_a_gpu_that_must_be_used_and_is_not_there_is_refused(model):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ModelRefused, match="no GPU"):
        quickest(load(configure(model)), "cuda")


def test_threads_are_those_asked_for_or_as_many_as_help(model, monkeypatch):
    before = torch.get_num_threads()
    try:
        ours = load(configure(model))
        assert (settle_threads(ours, 3), torch.get_num_threads()) == (3, 3)
        times = {1: 8.0, 2: 4.0, 4: 3.0, 8: 1.0}
        monkeypatch.setattr(sentiment_model.os, "cpu_count", lambda: 16)
        monkeypatch.setattr(sentiment_model, "_batch_s", lambda _: times[torch.get_num_threads()])
        assert (settle_threads(ours, 0), torch.get_num_threads()) == (2, 2)
        monkeypatch.setattr(sentiment_model.os, "cpu_count", lambda: 2)
        assert settle_threads(ours, 0) == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
def test_on_a_gpu_the_moods_are_the_same(model):
    ours = load(configure(model))
    there = quickest(ours, "cuda")
    assert (there.device, there.dtype) == ("cuda", "bfloat16")
    for mood, other in zip(ours.moods(ours.ids(TEXTS)), there.moods(there.ids(TEXTS)), strict=True):
        assert other.scores == pytest.approx(mood.scores, abs=0.02)


def test_names_links_and_emoji_are_read_as_in_training(model):
    ours = load(configure(model))
    assert ours.ids(["gg @viewer77 https://a.b/c"]) == ours.ids(["gg @user http"])
    assert ours.ids(["joy 😂😂😂"]) == ours.ids(["joy face with tears of joy"])


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's
def test_a_lora_brings_its_own_labels(model, tmp_path):
    torch.manual_seed(5)
    base = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2, ignore_mismatched_sizes=True)
    tuned = get_peft_model(
        base, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "dense"], init_lora_weights=False)
    )
    tuned.save_pretrained(tmp_path)
    base.config.id2label = {0: "NEG", 1: "POS"}
    base.config.save_pretrained(tmp_path)
    ours = load(configure(model, lora=tmp_path))
    (mood,) = ours.moods(ours.ids(["what a game"]))
    with torch.inference_mode():
        tokens = AutoTokenizer.from_pretrained(model)("what a game", return_tensors="pt")
        expected = tuned.eval()(**tokens).logits[0].softmax(-1)
    assert [mood.scores["negative"], mood.scores["positive"]] == pytest.approx(expected.tolist(), abs=1e-4)
    assert mood.toxicity is None


def test_a_failed_batch_fails_its_requests_and_no_other(model, tmp_path):
    broken = tiny_encoder(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(broken)
    tokenizer.add_tokens(["outside"])  # an id the embedding does not have
    tokenizer.save_pretrained(broken)
    with child(configure(broken, max_batch=1)) as peer:
        assert isinstance(peer.receive(), Ready)
        peer.send(Classify(1, ["gg", "outside"]), Classify(2, ["gg"]))
        answers = {answer.id: answer for answer in (peer.receive(), peer.receive())}
    assert isinstance(answers[1], Failed)
    assert answers[1].code == "internal"
    assert isinstance(answers[2], Moods)


def test_stop_ends_it_cleanly(model):
    with child(configure(model)) as peer:
        assert isinstance(peer.receive(), Ready)
        peer.send(Stop())
        assert peer.process.wait(30) == 0
        assert peer.process.stderr.read() == ""


def test_it_ends_when_the_daemon_is_gone(model):
    with child(configure(model)) as peer:
        assert isinstance(peer.receive(), Ready)
        peer.hang_up()
        assert peer.process.wait(30) != 0


def test_it_says_what_is_wrong_with_a_model_and_ends(tmp_path):
    tiny_encoder(tmp_path, labels=["LABEL_0", "LABEL_1", "LABEL_2"])
    with child(configure(tmp_path)) as peer:
        answer = peer.receive()
        assert isinstance(answer, NotReady)
        assert "LABEL_0" in answer.detail
        assert "sentiment.labels" in answer.detail
        assert peer.process.wait(30) == 0


def test_models_that_cannot_be_loaded_are_refused_by_name(model, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelRefused, match=r"empty cannot be loaded.*sentiment\.model"):
        load(configure(tmp_path / "empty"))
    with pytest.raises(ModelRefused, match="no-lora cannot be loaded"):
        load(configure(model, lora=tmp_path / "no-lora"))


def test_a_head_that_nobody_trained_is_refused(tmp_path):
    folder = tiny_encoder(tmp_path)
    bare = AutoModel.from_pretrained(folder)  # an encoder, as sentence-transformers publishes them
    bare.config.id2label = {0: "negative", 1: "positive"}
    bare.save_pretrained(folder)
    with pytest.raises(ModelRefused, match=r"no trained weights for classifier\.bias"):
        load(configure(folder))


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    tiny_encoder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "surprise", "auto_map": {"AutoConfig": "surprise.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "surprise.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelRefused):
        load(configure(tmp_path))


def test_batches_are_of_similar_length_and_bounded():
    assert plan([5, 1, 4, 2, 3], 2) == [[1, 3], [4, 2], [0]]
    assert plan([], 2) == []
