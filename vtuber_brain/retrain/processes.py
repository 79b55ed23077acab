"""The processes that train together, as `torchrun` or `accelerate launch` start them; one alone is the usual case.

Each computes its share of a step's packs; gradients are added up. Only the first writes.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor

PATIENCE = timedelta(hours=24)
"""The others have nothing to do while the first one builds the rows and compares what came of them."""


def is_first() -> bool:
    """Whether this process is the one that speaks, writes and decides."""
    return int(os.environ.get("RANK", "0")) == 0


@dataclass(frozen=True, slots=True)
class Processes:
    """Number `rank` of `count` processes."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by the sum of those of all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
        torch.distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def sums(self, *numbers: float) -> list[float]:
        """The sums of plain numbers over all processes."""
        if self.count == 1:
            return list(numbers)
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        tensor = torch.tensor(numbers, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(tensor)
        return [float(number) for number in tensor]

    def told(self, what: str | None) -> str | None:
        """What the first process says here; the others wait for it, for hours if need be."""
        if self.count > 1:
            said = [what]
            torch.distributed.broadcast_object_list(said, src=0)
            return said[0]
        return what

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.count > 1:
            torch.distributed.barrier()


@contextlib.contextmanager
def together(device: torch.device) -> Iterator[Processes]:
    """The processes of this run: those that WORLD_SIZE and RANK tell of, else this one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    ours = not torch.distributed.is_initialized()
    if ours:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(torch.distributed.get_rank(), count)
    finally:
        if ours:
            torch.distributed.destroy_process_group()
