"""docs/chat.md says everything there is: every frame with its fields, every code and reason, every limit."""

from pathlib import Path
from typing import get_args

import pytest

from vtuber_brain.chat import frames, subscriber, websocket
from vtuber_brain.messages import Drop, Kind, Outcome

PAGE = (Path(__file__).parents[2] / "docs" / "chat.md").read_text("utf-8")


def row(name: str) -> str:
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1, name
    return rows[0]


@pytest.mark.parametrize("model", [*get_args(frames.ClientFrame), *get_args(frames.ServerFrame)])
def test_every_frame_and_field(model):
    described = row(model.model_fields["type"].default)
    for name in set(model.model_fields) - {"type"}:
        assert f"`{name}`" in described


@pytest.mark.parametrize("name", frames.AuthorBody.model_fields)
def test_every_field_of_an_author(name):
    assert f"`{name}`" in row("message")


@pytest.mark.parametrize("code", [*get_args(frames.ErrorCode), *Drop])
def test_every_code_and_reason(code):
    assert row(code)


@pytest.mark.parametrize("word", [*get_args(Kind), *get_args(Outcome)])
def test_every_kind_and_outcome(word):
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize(
    "text",
    [
        f"At most {frames.MAX_ID_CHARS} characters",
        f"at most {frames.MAX_NAME_CHARS} characters",
        f"at most {frames.MAX_ROLES}",
        f"at most {frames.MAX_TEXT_CHARS} characters",
        f"queue of {subscriber.MAX_QUEUED} frames",
        f"`{websocket.SUBPROTOCOL}`",
        f"`{websocket.BEARER_SUBPROTOCOL}TOKEN`",
    ],
)
def test_every_limit(text):
    assert text in PAGE


def test_no_code_that_is_not_there():
    listed = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")}
    known = {
        model.model_fields["type"].default for model in (*get_args(frames.ClientFrame), *get_args(frames.ServerFrame))
    }
    assert listed == known | set(get_args(frames.ErrorCode)) | set(Drop)
