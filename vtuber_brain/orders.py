"""A command for the running daemon, sent over its bus, and the answer shown: what the operator's commands share.

Exit codes: 0 done; 1 the daemon refused, and said why; 3 no daemon answers.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import TypeAdapter, ValidationError

from vtuber_brain.bus.control import Control
from vtuber_brain.bus.order import order
from vtuber_brain.config import load
from vtuber_brain.console import show_problems
from vtuber_brain.errors import ConfigError, Problem

DONE, FAILED = 0, 1

Config = Annotated[Path | None, Parameter(name="--config", help="The file the daemon was started with.")]
_CONTROL: TypeAdapter[Control] = TypeAdapter(Control)


def have_done(config: Path | None, show: Callable[[Mapping[str, Any]], None], fix: str, **fields: str | None) -> int:
    """Have the daemon obey and show what it answers; the exit code. `fix` is said when a field cannot be meant.

    Raises ConfigError, and Unavailable when no daemon answers.
    """
    settings = load(config)
    try:
        command = _CONTROL.validate_python(fields)
    except ValidationError as error:
        item = error.errors(include_input=False, include_url=False)[0]
        raise ConfigError([Problem(str(item["loc"][-1]), item["msg"], fix)]) from None
    result = asyncio.run(order(settings.bus, Path(settings.persona.name).stem, command))
    if not result.ok:
        show_problems([result.detail or result.code])
        return FAILED
    show(result.data or {})
    return DONE
