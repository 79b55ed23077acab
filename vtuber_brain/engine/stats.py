"""What the worker tells of itself after each ping: how full it is, and what it has done so far."""

from collections.abc import Iterable

import torch

from vtuber_brain.engine.core import Core
from vtuber_brain.engine.wire import Delta, Done, Message, Stats


class Tally:
    """Counts what goes out; `report` adds what there is room for. Never keeps the device waiting."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._num_steps = self._num_prompt = self._num_cached = self._num_completion = 0

    def step(self, events: Iterable[Message]) -> None:
        """Note one step and what came of it."""
        self._num_steps += 1
        for event in events:
            if isinstance(event, Delta):
                self._num_completion += len(event.token_ids)
            elif isinstance(event, Done):
                self._num_prompt += event.usage.prompt_tokens
                self._num_cached += event.usage.cached_tokens

    def report(self) -> Stats:
        """The counts since the start, and the room at this moment."""
        core, cache = self._core, self._core.runner.cache
        ours, in_use, there = _device_bytes(core.runner.device)
        return Stats(
            num_steps=self._num_steps,
            prompt_tokens=self._num_prompt,
            cached_tokens=self._num_cached,
            completion_tokens=self._num_completion,
            num_running=core.scheduler.num_running,
            num_waiting=core.scheduler.num_waiting,
            num_slots=core.num_slots,
            kv_tokens=core.scheduler.num_tokens,
            kv_running_tokens=core.scheduler.num_running_tokens,
            kv_capacity=cache.num_rows * core.context,
            kv_bytes=cache.num_bytes,
            num_loras=len(core.places.names),
            max_loras=core.places.max_loras,
            lora_bytes=core.runner.bank.num_bytes,
            device_bytes=ours,
            device_used_bytes=in_use,
            device_total_bytes=there,
        )


def _device_bytes(device: torch.device) -> tuple[int, int, int]:
    """What this process has taken of a GPU's memory, what all have, and how much there is; zeros on a CPU."""
    if device.type != "cuda":
        return 0, 0, 0
    free, there = torch.cuda.mem_get_info(device)
    return torch.cuda.memory_reserved(device), there - free, there
