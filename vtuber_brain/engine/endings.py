"""When a reply is over, and what text may go out before that."""

from collections.abc import Sequence
from typing import Any

from vtuber_brain.engine.render import TextStream
from vtuber_brain.engine.wire import FinishReason


class Ending:
    """One reply's tokens on their way out: text that is certain, until an end token, a stop string or the length."""

    def __init__(self, tokenizer: Any | None, stops: Sequence[str], ends: frozenset[int], max_tokens: int) -> None:
        self._text = TextStream(tokenizer, stops)
        self._ends, self._left = ends, max_tokens

    def feed(self, token: int) -> tuple[str, FinishReason | None]:
        """The text that is certain after one more token, and why the reply ends with it, if it does."""
        self._left -= 1
        is_end = token in self._ends
        text = "" if is_end else self._text.feed(token)
        reason: FinishReason | None = None
        if is_end:
            reason = "stop"
        elif self._text.stopped:
            reason = "stop_string"
        elif self._left <= 0:
            reason = "length"
        if reason in ("stop", "length"):
            text += self._text.flush()
        return text, reason


def end_tokens(model: Any) -> frozenset[int]:
    """The tokens with which a model ends its answer, by its generation config or its config."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        ends = getattr(model.config.get_text_config(), "eos_token_id", None)
    if ends is None:
        return frozenset()
    return frozenset([ends] if isinstance(ends, int) else ends)
