"""From a request to the tokens of its prompt, and every reason why it cannot be answered."""

from typing import Any

from vtuber_brain.engine.render import Renderer
from vtuber_brain.engine.wire import Generate
from vtuber_brain.errors import RequestFailed


class Prompts:
    """What a model with this tokenizer (None: token ids only), vocabulary and context can be asked."""

    def __init__(self, tokenizer: Any | None, vocabulary: int, context: int) -> None:
        self._renderer = Renderer(tokenizer) if tokenizer is not None else None
        self._vocabulary, self._context = vocabulary, context

    def tokens(self, request: Generate) -> list[int]:
        """The prompt. Raises RequestFailed (bad_request, prompt_too_long)."""
        if request.max_tokens < 1:
            raise RequestFailed("bad_request", "max_tokens is less than 1")
        prompt = self._token_ids(request)
        if not prompt or not all(0 <= token < self._vocabulary for token in (*prompt, *request.sampling.banned)):
            raise RequestFailed("bad_request", f"no prompt, or a token outside 0..{self._vocabulary - 1}")
        if len(prompt) >= self._context:
            raise RequestFailed("prompt_too_long", f"{len(prompt)} tokens, room for {self._context - 1}")
        return prompt

    def stops(self, request: Generate) -> tuple[str, ...]:
        """The request's stop strings, and those a conversation has by itself."""
        if request.messages is None or self._renderer is None:
            return request.stop
        return request.stop + self._renderer.stops()

    def _token_ids(self, request: Generate) -> list[int]:
        given = [part for part in (request.messages, request.prompt, request.token_ids) if part is not None]
        if len(given) != 1:
            raise RequestFailed("bad_request", "give exactly one of messages, prompt and token_ids")
        if request.token_ids is not None:
            return list(request.token_ids)
        if self._renderer is None:
            raise RequestFailed("bad_request", "the model's folder has no tokenizer; give token_ids")
        if request.prompt is not None:
            return self._renderer.prompt(request.prompt)
        assert request.messages is not None
        room = max(1, self._context - min(request.max_tokens, self._context // 2))
        return self._renderer.messages(request.messages, room)
