"""`vtuber-brain generate`: the same engine over a file of requests, all of them batched, answers in the file's order.

One bad line is answered with its error and disturbs nobody.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vtuber_brain.engine.core import Core, Event
from vtuber_brain.engine.load import base_hash, load_runner, load_tokenizer
from vtuber_brain.engine.loras import largest_rank, read_lora
from vtuber_brain.engine.render import Renderer
from vtuber_brain.engine.wire import Configure, Delta, Done, Failed, Generate, Sampling
from vtuber_brain.errors import LoraRejected, RequestFailed


class Turn(BaseModel):
    """One chat message of a request."""

    model_config = ConfigDict(extra="forbid")

    role: str = Field(pattern="^(system|user|assistant)$")
    content: str


class Line(BaseModel):
    """One line of the input; exactly one of `messages`, `prompt` and `token_ids`. `lora` is a PEFT directory."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | int | None = None
    messages: list[Turn] | None = None
    prompt: str | None = None
    token_ids: list[int] | None = None
    max_tokens: int = Field(128, ge=1)
    temperature: float = Field(0.0, ge=0)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    presence_penalty: float = 0.0
    banned: list[int] = []
    seed: int | None = None
    stop: list[str] | str = []
    ignore_eos: bool = False
    lora: str | None = None
    logprobs: bool = False

    def request(self, number: int) -> Generate:
        """The engine's request; its id is the line's number, because the file's ids may repeat."""
        return Generate(
            id=str(number),
            messages=tuple(turn.model_dump() for turn in self.messages) if self.messages is not None else None,
            prompt=self.prompt,
            token_ids=tuple(self.token_ids) if self.token_ids is not None else None,
            max_tokens=self.max_tokens,
            sampling=Sampling(
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=self.top_p,
                min_p=self.min_p,
                repetition_penalty=self.repetition_penalty,
                presence_penalty=self.presence_penalty,
                banned=tuple(self.banned),
                seed=self.seed,
            ),
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop),
            ignore_eos=self.ignore_eos,
            lora=self.lora,
            logprobs=self.logprobs,
        )


@dataclass(slots=True)
class Answer:
    """What one line of the input gets."""

    id: str | int | None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] | None = None
    text: str = ""
    done: Done | None = None
    error: str | None = None

    def line(self, *, has_text: bool) -> dict[str, Any]:
        """The line of the output; `text` is null where the model has no tokenizer."""
        if self.done is None:
            return {"id": self.id, "error": self.error or "no answer"}
        usage = self.done.usage
        logprobs = {"logprobs": self.logprobs} if self.logprobs is not None else {}
        return {
            "id": self.id,
            "token_ids": self.token_ids,
            **logprobs,
            "text": self.text if has_text else None,
            "finish_reason": "stop" if self.done.finish_reason == "stop_string" else self.done.finish_reason,
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "cached_tokens": usage.cached_tokens,
            },
        }


def generate(lines: Iterable[str], configure: Configure) -> Iterator[dict[str, Any]]:
    """Answer every line, in order, once all are done. Raises ModelRefused. Empty lines are passed over."""
    parsed = [_parse(number, text) for number, text in enumerate(lines, 1) if text.strip()]
    requests = {request.id: request for _, request in parsed if request is not None}
    answers = {request.id: answer for answer, request in parsed if request is not None}
    core = _core_for(requests.values(), configure)
    rejected = _load_loras(core, requests.values(), configure)
    for request in requests.values():
        if request.lora in rejected:
            answers[request.id].error = f"lora_rejected: {rejected[request.lora]}"
            continue
        try:
            core.add(request)
        except RequestFailed as failure:
            answers[request.id].error = str(failure)
    while core.busy:
        for event in core.step():
            _take(answers[event.id], event)
    for answer, _ in parsed:
        yield answer.line(has_text=core.tokenizer is not None)


def generate_file(source: Path, target: Path, configure: Configure) -> tuple[int, int]:
    """Answer the lines of `source` into `target`; gives (answered, failed). The target appears whole or not at all."""
    with source.open(encoding="utf-8") as lines:
        answers = list(generate(lines, configure))
    partial = target.with_name(target.name + ".partial")
    partial.write_text("".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers), encoding="utf-8")
    partial.replace(target)
    failed = sum("error" in answer for answer in answers)
    return len(answers) - failed, failed


def _parse(number: int, text: str) -> tuple[Answer, Generate | None]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        return Answer(None, error=f"line {number}: not JSON: {error.msg} at column {error.colno}"), None
    except (ValueError, RecursionError) as error:  # a number or brackets of no end
        return Answer(None, error=f"line {number}: not JSON: {error}"), None
    answer = Answer(record.get("id") if isinstance(record, dict) else None)
    try:
        return answer, Line.model_validate(record).request(number)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field_name = ".".join(str(part) for part in first["loc"]) or "the record"
        answer.error = f"line {number}: {field_name}: {first['msg']}"
        return answer, None


def _core_for(requests: Collection[Generate], configure: Configure) -> Core:
    """A core with just the room these requests need."""
    tokenizer = load_tokenizer(configure)
    needs = [_num_tokens(request, tokenizer) + request.max_tokens for request in requests]
    folders = _folders(requests)
    shape = replace(
        configure,
        num_slots=max(1, min(configure.num_slots, len(needs))),
        context=max([32, *needs]),
        max_waiting=len(needs) + 1,
        max_loras=len(folders),
        max_lora_rank=max([1, *map(largest_rank, folders)]),
        graphs=False,
    )
    return Core(load_runner(shape), tokenizer, shape)


def _folders(requests: Iterable[Generate]) -> list[Path]:
    return sorted({Path(request.lora) for request in requests if request.lora is not None})


def _load_loras(core: Core, requests: Iterable[Generate], configure: Configure) -> dict[str | None, str]:
    """Take every lora in that the lines name; the reasons of those that could not be."""
    rejected: dict[str | None, str] = {}
    hashed = base_hash(configure.model)
    for name in {request.lora for request in requests if request.lora is not None}:
        try:
            weights = read_lora(Path(name), core.runner.bank.shapes, core.runner.bank.rank, hashed)
            core.install(name, weights)
        except LoraRejected as rejection:
            rejected[name] = str(rejection)
    return rejected


def _num_tokens(request: Generate, tokenizer: Any | None) -> int:
    if request.token_ids is not None:
        return len(request.token_ids)
    if tokenizer is None:
        return 0
    renderer = Renderer(tokenizer)
    if request.prompt is not None:
        return len(renderer.prompt(request.prompt))
    try:
        return len(renderer.messages(request.messages or (), 2**30))
    except RequestFailed:
        return 0


def _take(answer: Answer, event: Event) -> None:
    match event:
        case Delta():
            answer.token_ids += event.token_ids
            answer.text += event.text
            if event.logprobs is not None:
                answer.logprobs = [*(answer.logprobs or ()), *event.logprobs]
        case Done():
            answer.done = event
        case Failed():
            answer.error = f"{event.code}: {event.detail}"
