"""Between words and tokens, both ways; the same bytes when serving and when training.

What a viewer typed is encoded as letters, whatever it looks like: only the template's own parts may become special
tokens. `Renderer` holds a tokenizer and knows nothing of torch.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from vtuber_brain.errors import RequestFailed

_MARK = "\ue000{}\ue001"  # private-use characters stand for the contents while the template is rendered
_PLAIN_NAMES = {"user": "Viewer", "assistant": "Me"}

Messages = Sequence[dict[str, str]]


class Renderer:
    """Turns chat messages or a prompt into token ids, by the model's chat template or, without one, as plain text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._has_template = bool(getattr(tokenizer, "chat_template", None))

    def prompt(self, text: str) -> list[int]:
        """A raw prompt, exactly as the tokenizer encodes it by default."""
        return list(self._tokenizer(text).input_ids)

    def messages(self, messages: Messages, max_tokens: int) -> list[int]:
        """A conversation up to where the assistant begins to speak, in at most `max_tokens` ids.

        When it is too long, the oldest turns after the system message go first; the last message always stays.
        Raises RequestFailed(prompt_too_long) when that is not enough, (bad_request) when the template refuses.
        """
        kept = list(messages)
        head = 1 if kept and kept[0]["role"] == "system" else 0
        while True:
            ids = self._encode(kept)
            if len(ids) <= max_tokens:
                return ids
            if len(kept) <= head + 1:
                raise RequestFailed("prompt_too_long", f"{len(ids)} tokens, room for {max_tokens}")
            del kept[head : min(head + 2, len(kept) - 1)]

    def answer(self, messages: Messages, text: str) -> tuple[list[int], list[int]]:
        """What follows `messages(messages)` when the assistant says `text`, as every later prompt shows it.

        First the ids of the words (with the space a plain-text template puts before them), then those of what the
        template writes behind them, from the end of the turn on. Raises RequestFailed as `messages` does.
        """
        *_, (ahead, _) = self._parts(messages)
        *_, (between, _), content, behind = self._parts([*messages, {"role": "assistant", "content": text}])
        begun, led = self._ids((ahead, True)), self._ids((between, True))
        lead = led[len(begun) :] if led[: len(begun)] == begun else []
        return [*lead, *self._ids(content)], self._ids(behind)

    def stops(self) -> tuple[str, ...]:
        """What ends a reply besides the end token: with a plain-text template, the next speaker's line."""
        return () if self._has_template else tuple(f"\n{name}:" for name in _PLAIN_NAMES.values())

    def _encode(self, messages: Messages) -> list[int]:
        return [token for part in self._parts(messages) for token in self._ids(part)]

    def _ids(self, part: tuple[str, bool]) -> list[int]:
        text, is_ours = part
        if not text:
            return []
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=not is_ours).input_ids)

    def _parts(self, messages: Messages) -> list[tuple[str, bool]]:
        """The rendered conversation, cut into template text (True) and contents (False)."""
        contents = [message["content"].strip() for message in messages]
        marked = [{**message, "content": _MARK.format(n)} for n, message in enumerate(messages)]
        rendered = self._template(marked) if self._has_template else _plain(marked)
        parts: list[tuple[str, bool]] = []
        for n, content in enumerate(contents):
            before, found, rendered = rendered.partition(_MARK.format(n))
            if not found:
                raise RequestFailed("bad_request", "the model's chat template leaves out or reorders a message")
            parts += [(before, True), (content, False)]
        return [*parts, (rendered, True)]

    def _template(self, messages: Messages) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except (TemplateError, ValueError, TypeError) as error:
            raise RequestFailed("bad_request", f"the model's chat template refuses these messages: {error}") from None
        return text


class TextStream:
    """Tokens in, text out, for one reply: whole characters only, never a stop string nor the beginning of one."""

    def __init__(self, tokenizer: Any | None, stops: Sequence[str]) -> None:
        self._tokenizer, self._stops = tokenizer, [stop for stop in stops if stop]
        self._ids: list[int] = []
        self._start = self._read = 0
        self._held = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """The text that is certain after one more token; `stopped` turns true when a stop string was completed."""
        self._held += self._decode(token)
        cuts = [self._held.find(stop) for stop in self._stops if stop in self._held]
        if cuts:
            self.stopped = True
            text, self._held = self._held[: min(cuts)], ""
            return text
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return text

    def flush(self) -> str:
        """What was held back, at the end of a reply that met no stop string."""
        text, self._held = self._held, ""
        return text

    def _decode(self, token: int) -> str:
        """The new text, decoded from a short window: a token's text can depend on the one before (spaces, bytes)."""
        if self._tokenizer is None:
            return ""
        self._ids.append(token)
        before = self._text(self._ids[self._start : self._read])
        after = self._text(self._ids[self._start :])
        if len(after) <= len(before) or after.endswith("\ufffd"):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def _text(self, ids: list[int]) -> str:
        assert self._tokenizer is not None
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)


def _plain(messages: Messages) -> str:
    """A template for models without one: the system text, then `Viewer:` and `Me:` lines."""
    return "\n".join([*(_plain_line(**message) for message in messages), f"{_PLAIN_NAMES['assistant']}:"])


def _plain_line(role: str, content: str) -> str:
    return content + "\n" if role == "system" else f"{_PLAIN_NAMES[role]}: {content}"
