"""One OpenAI-compatible server behind the `openai` client: what is sent, what comes back, and what an error means.

It tries nothing twice; who is asked next is decided by others. No key and no password leaves it in a message. The
only file that imports `openai`, which costs a fifth of a second: import it late.
"""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from vtuber_brain.engine.api import Request
from vtuber_brain.engine.chunks import Chunk
from vtuber_brain.engine.endpoints import Endpoint, Kind, ServerFailed
from vtuber_brain.errors import Refused
from vtuber_brain.sections import RemoteSettings

LORA_LOAD_S, LORA_UNLOAD_S = 60.0, 5.0
MAX_WORDS_CHARS = 300
BANNED_BIAS = -100
_TOO_LONG = ("context_length_exceeded", "maximum context length", "maximum model length", "context length", "too long")

_KINDS: dict[int, Kind] = {
    401: "unauthorized",
    403: "unauthorized",
    404: "not_found",
    408: "server_error",
    429: "rate_limited",
}


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class Server:
    """One base URL. Every method raises ServerFailed."""

    def __init__(self, url: str, number: int, settings: RemoteSettings) -> None:
        """Raises Refused for what is no http or https URL."""
        self.endpoint = Endpoint(_shown(url, number), number, settings.retry_max_s)
        self.served: frozenset[str] = frozenset()
        self._key = settings.api_key.get_secret_value() if settings.api_key is not None else ""
        self._takes_usage_option = True
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=url,
            max_retries=0,  # there is one retry, and it knows of the other servers
            timeout=openai.Timeout(settings.first_token_timeout_s, connect=settings.connect_timeout_s),
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def look(self) -> None:
        """Ask it which models it has: `served` holds them afterwards."""
        try:
            found = await self._client.get("/models", cast_to=object)
            self.served = frozenset(model.id for model in _Models.model_validate(found).data)
        except openai.APIError as error:
            raise self._failure(error) from None
        except ValueError:
            raise ServerFailed("broken", "its /models is no list of models") from None

    async def stream(self, model: str, request: Request) -> AsyncGenerator[Chunk, None]:
        """The events of one reply as they come. Leaving it early closes the response, and with it the connection."""
        body, extra = request_body(model, request), extra_body(request)
        try:
            async with await self._open(body, extra) as chunks:
                async for chunk in chunks:
                    yield Chunk.model_validate(chunk, from_attributes=True)
        except openai.APIError as error:
            raise self._failure(error, extra) from None
        except ValueError:
            raise ServerFailed("broken", "its stream is not that of a chat completion") from None

    async def load_lora(self, name: str, path: Path) -> None:
        """Let vLLM load the PEFT directory that it sees at `path`."""
        await self._post("/load_lora_adapter", {"lora_name": name, "lora_path": str(path)}, LORA_LOAD_S)
        self.served |= {name}

    async def unload_lora(self, name: str) -> None:
        """Let vLLM forget a lora."""
        await self._post("/unload_lora_adapter", {"lora_name": name}, LORA_UNLOAD_S)
        self.served -= {name}

    async def _post(self, path: str, body: Mapping[str, str], timeout_s: float) -> None:
        try:
            await self._client.post(path, cast_to=str, body=body, options={"timeout": timeout_s})
        except openai.APIError as error:
            raise self._failure(error) from None

    async def _open(
        self, body: Mapping[str, Any], extra: Mapping[str, Any]
    ) -> "openai.AsyncStream[ChatCompletionChunk]":
        usage: dict[str, Any] = {"stream_options": {"include_usage": True}} if self._takes_usage_option else {}
        try:
            opened: openai.AsyncStream[ChatCompletionChunk] = await self._client.chat.completions.create(
                **body, **usage, stream=True, extra_body=extra or None
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if not usage or "stream_options" not in _words(error):
                raise
        else:
            return opened
        self._takes_usage_option = False
        return await self._open(body, extra)

    def _failure(self, error: openai.APIError, extra: Mapping[str, Any] | None = None) -> ServerFailed:
        """What an error of the client means."""
        if isinstance(error, openai.APITimeoutError):
            return ServerFailed("connection", "no answer in time")
        if isinstance(error, openai.APIConnectionError):
            return ServerFailed("connection", f"cannot be reached ({type(error.__cause__).__name__})")
        words = self._quotable(_words(error))
        if not isinstance(error, openai.APIStatusError):
            return ServerFailed("broken", "an error in the middle of its stream", words)
        status = error.status_code
        kind = _KINDS.get(status, "server_error" if status >= 500 else "bad_request")
        if kind == "unauthorized":  # its words may hold a part of the key
            return ServerFailed(kind, f"answered {status}: check remote.api_key")
        if kind == "bad_request" and any(sign in f"{words} {error.code}".lower() for sign in _TOO_LONG):
            kind = "too_long"
        refused = [name for name in extra or () if name in words]
        reason = f"refused {', '.join(refused)}" if refused else f"answered {status}"
        return ServerFailed(kind, reason, words, _retry_after_s(error.response.headers.get("retry-after")))

    def _quotable(self, words: str) -> str:
        hidden = words.replace(self._key, "***") if self._key else words
        return hidden[:MAX_WORDS_CHARS]


def request_body(model: str, request: Request) -> dict[str, Any]:
    """The fields of a chat completion that every server knows; those at their off value are left out."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": list(request.messages),
        "max_tokens": request.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    optional: dict[str, Any] = {
        "presence_penalty": sampling.presence_penalty or None,
        "seed": sampling.seed,
        "stop": list(request.stop) or None,
        "logit_bias": {str(token): BANNED_BIAS for token in sampling.banned} or None,
    }
    return body | {key: value for key, value in optional.items() if value is not None}


def extra_body(request: Request) -> dict[str, Any]:
    """What only some servers know, under vLLM's names, when it is not off.

    https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html lists them as extra parameters.
    """
    sampling = request.sampling
    extra = {
        "top_k": (sampling.top_k, 0),
        "min_p": (sampling.min_p, 0.0),
        "repetition_penalty": (sampling.repetition_penalty, 1.0),
    }
    return {name: value for name, (value, off) in extra.items() if value != off}


def _shown(url: str, number: int) -> str:
    """The URL without user, password and query, any of which may be a secret."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise Refused(f"remote.urls: number {number + 1} is no http or https URL, such as http://127.0.0.1:8000/v1")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _words(error: openai.APIError) -> str:
    """What the server said: OpenAI and vLLM put it under `message`, FastAPI under `detail`."""
    body = error.body
    if isinstance(body, dict):
        return str(body.get("message") or body.get("detail") or "")
    return str(body or "")


def _retry_after_s(header: str | None) -> float | None:
    """Seconds; infinity for what is no number (a date), so that the longest pause is taken."""
    if header is None:
        return None
    return float(header) if header.replace(".", "", 1).isdecimal() else float("inf")
