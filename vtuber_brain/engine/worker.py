"""The process that holds torch: `python -m vtuber_brain.engine.worker --fd N`. Its loop takes what the line brought
between two steps, computes a step, and writes what came of it; it never touches the disk, chat or the bus.
"""

import argparse
import traceback

import torch
from transformers.utils import logging as transformers_logging

from vtuber_brain.engine.core import Core, Event
from vtuber_brain.engine.wire import PROTOCOL, Cancel, Configure, Failed, Generate, Message
from vtuber_brain.errors import ModelRefused, RequestFailed
from vtuber_brain.runtime.line import ChildEnd, NotReady, Ping, Pong, Ready, Stop


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
    serve(core, end)


def serve(core: Core, end: ChildEnd[Message]) -> None:
    """Answer until `Stop`. Waits on the line only when there is nothing to compute."""
    while True:
        for message in end.receive(0 if core.busy else None):
            match message:
                case Generate():
                    _add(core, end, message)
                case Cancel(id=request_id):
                    core.cancel(request_id)
                case Ping(n=n):
                    end.send(Pong(n))
                case Stop():
                    return
        for event in _step(core):
            end.send(event)


def _add(core: Core, end: ChildEnd[Message], request: Generate) -> None:
    try:
        core.add(request)
    except RequestFailed as failure:
        end.send(Failed(request.id, failure.code, failure.detail))


def _step(core: Core) -> list[Event]:
    """One step. Whatever breaks in it ends the requests that were in it, not the worker."""
    try:
        return core.step()
    except torch.OutOfMemoryError as error:
        return core.fail_all("out_of_memory", str(error).splitlines()[0])
    except Exception as error:  # noqa: BLE001 - the boundary of one worker request
        traceback.print_exc()
        return core.fail_all("internal", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
