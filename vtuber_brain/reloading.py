"""What a reload reaches and what it does not: names for the operator, found by comparing two sets of settings. Pure."""

from collections.abc import Collection, Iterator

from vtuber_brain.plan import Plan

_AT_START = frozenset(
    {"enabled", "model", "lora", "labels", "max_batch", "max_wait_ms", "max_tokens", "timeout_s", "hold_s", "max_held"}
    | {"threads", "device", "sample_share", "start_timeout_s"}
)
"""Keys of `[sentiment]` that the classifier's process and the door were given for good."""


def needs_restart(old: Plan, new: Plan, plugins: Collection[str]) -> list[str]:
    """The changed sections that only a restart reaches, of `[sentiment]` the keys; `plugins` are such plugins."""
    return sorted({*_sections(old, new), *_keys(old, new), *(f"plugins.{name}" for name in plugins)})


def _sections(old: Plan, new: Plan) -> Iterator[str]:
    reached = {"sentiment", "plugins"} | ({"persona"} if old.persona.name == new.persona.name else set())
    for name in set(type(old.settings).model_fields) - reached:
        if getattr(old.settings, name) != getattr(new.settings, name):
            yield name


def _keys(old: Plan, new: Plan) -> Iterator[str]:
    for key in _AT_START:
        if getattr(old.settings.sentiment, key) != getattr(new.settings.sentiment, key):
            yield f"sentiment.{key}"
