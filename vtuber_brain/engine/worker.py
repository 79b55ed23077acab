"""The process that holds torch: `python -m vtuber_brain.engine.worker --fd N`. Its loop takes what the line brought
between two steps, computes a step, and writes what came of it. Loras are read and checked by a thread meanwhile.
"""

import argparse
import traceback

import torch
from transformers.utils import logging as transformers_logging

from vtuber_brain.engine.arrivals import Arrivals
from vtuber_brain.engine.core import Core, Event
from vtuber_brain.engine.load import is_out_of_memory
from vtuber_brain.engine.stats import Tally
from vtuber_brain.engine.wire import (
    PROTOCOL,
    Cancel,
    Configure,
    DropLora,
    Failed,
    Generate,
    LoadLora,
    Message,
    Pin,
    Shrunk,
)
from vtuber_brain.errors import ModelRefused, RequestFailed
from vtuber_brain.runtime.line import ChildEnd, NotReady, Ping, Pong, Ready, Stop

READING_POLL_S = 0.005
"""While nothing is computed and a lora is being read, the line is left so often to see whether it is there."""


def main() -> None:
    """Serve one daemon until it says stop or is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    transformers_logging.disable_progress_bar()
    end: ChildEnd[Message] = ChildEnd(parser.parse_args().fd, PROTOCOL)
    (configure,) = end.receive(None)
    assert isinstance(configure, Configure)
    try:
        core = Core.load(configure)
    except ModelRefused as refusal:
        end.send(NotReady(str(refusal)))
        end.receive(None)
        return
    end.send(Ready(core.facts))
    with Arrivals(core, configure.model) as arrivals:
        serve(core, arrivals, end)


def serve(core: Core, arrivals: Arrivals, end: ChildEnd[Message]) -> None:
    """Answer until `Stop`. Waits on the line only when there is nothing to compute."""
    tally = Tally(core)
    while True:
        patience_s = 0 if core.busy else READING_POLL_S if arrivals.expected else None
        for message in end.receive(patience_s):
            if isinstance(message, Stop):
                return
            for answer in _take(core, arrivals, message):
                end.send(answer)
            if isinstance(message, Ping):
                end.send(tally.report())
        for answer in arrivals.install():
            end.send(answer)
        if core.busy:
            events = _step(core)
            tally.step(events)
            for event in events:
                end.send(event)


def _take(core: Core, arrivals: Arrivals, message: Message) -> list[Message]:
    """Do what one message asks; what can be answered at once."""
    match message:
        case Generate():
            return _add(core, message)
        case Pin(id=request_id, name=name, messages=messages, lora=lora):
            return _add(core, Generate(request_id, messages=messages, lora=lora, max_tokens=1), pin=name)
        case Cancel(id=request_id):
            core.cancel(request_id)
        case LoadLora(name=name, path=path):
            arrivals.expect(name, path)
        case DropLora(name=name):
            arrivals.forget(name)
        case Ping(n=n):
            return [Pong(n)]
    return []


def _add(core: Core, request: Generate, pin: str | None = None) -> list[Message]:
    try:
        core.add(request, pin)
    except RequestFailed as failure:
        return [Failed(request.id, failure.code, failure.detail)]
    return []


def _step(core: Core) -> list[Event | Shrunk]:
    """One step. Whatever breaks in it ends the requests that were in it, not the worker; a broken device ends both."""
    try:
        return [*core.step()]
    except torch.AcceleratorError:
        raise  # CUDA takes nothing more from a process once it has said so; the next process can work again
    except Exception as error:  # noqa: BLE001 - the boundary of one worker request
        if not is_out_of_memory(error):
            traceback.print_exc()
            return [*core.fail_all("internal", f"{type(error).__name__}: {error}")]
        detail = str(error).splitlines()[0]
    failed = core.fail_all("out_of_memory", detail)
    return [*failed, Shrunk(core.shrink(), detail)]


if __name__ == "__main__":
    main()
