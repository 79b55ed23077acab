"""Logs are events: a static snake_case name and fields, on stderr, in one processor chain with the standard library's.

Viewer text travels only under keys that begin with `pii_`, which are dropped unless the level is debug; a field named
like a secret is masked, and the secrets that are known are hidden in every line, tracebacks of libraries included.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, MutableMapping
from types import TracebackType
from typing import Any, Literal

import structlog

_SECRET = re.compile(r"(^|_)token$|secret|password|authorization|credential|api_key", re.IGNORECASE)
_NOISY = ("websockets", "amqtt", "transitions", "asyncio", "httpx", "httpcore", "urllib3", "filelock")
Fields = MutableMapping[str, Any]


def setup(level: str, style: Literal["auto", "console", "json"], secrets: Iterable[str] = ()) -> None:
    """Send every event of ours and of libraries to stderr, at `level` and above, with `secrets` hidden everywhere."""
    keep_pii = level == "debug"
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        mask_secrets,
        *([] if keep_pii else [drop_pii]),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = _Hiding(
        secrets,
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_render(style)],
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def take_over() -> None:
    """Have what Python itself would print (warnings, errors in threads, the error that ends the process) be logged."""
    logging.captureWarnings(capture=True)
    log = structlog.get_logger(__name__)

    def in_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None:
            log.error("thread_failed", thread=getattr(failed.thread, "name", None), exc_info=failed.exc_value)

    def unraisable(failed: "sys.UnraisableHookArgs") -> None:
        if failed.exc_value is not None:
            log.error("error_not_raised", where=repr(failed.object)[:200], exc_info=failed.exc_value)

    def at_the_end(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        log.critical("crashed", exc_info=error)

    threading.excepthook, sys.unraisablehook, sys.excepthook = in_thread, unraisable, at_the_end


class _Hiding(structlog.stdlib.ProcessorFormatter):
    """Hides secrets in the finished line: in a message, deep inside a field, or in the text of an exception."""

    def __init__(self, secrets: Iterable[str], **how: Any) -> None:
        super().__init__(**how)
        plain = {form for secret in secrets if secret for form in (secret, repr(secret)[1:-1])}
        self._forms = sorted(plain | {json.dumps(form)[1:-1] for form in plain}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """The rendered line without the secrets."""
        line = super().format(record)
        for form in self._forms:
            line = line.replace(form, "***")
        return line


def mask_secrets(_logger: Any, _method: str, fields: Fields) -> Fields:
    """Replace the value of every field whose name looks like a secret's; a number is a count of tokens, not one."""
    for key, value in fields.items():
        if _SECRET.search(key) and not isinstance(value, int | float | None):
            fields[key] = "***"
    return fields


def drop_pii(_logger: Any, _method: str, fields: Fields) -> Fields:
    """Leave out what a viewer wrote or is called."""
    for key in [key for key in fields if key.startswith("pii_")]:
        del fields[key]
    return fields


def _render(style: str) -> list[structlog.typing.Processor]:
    if style == "json" or (style == "auto" and not sys.stderr.isatty()):
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
