"""Writes configs/brain.toml and docs/settings.md from config.py: `python -m tests.support.settings_doc`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from vtuber_brain.config import Settings

ROOT = Path(__file__).parents[2]
BRAIN_TOML = ROOT / "configs" / "brain.toml"
SETTINGS_MD = ROOT / "docs" / "settings.md"

TOML_HEAD = """\
# Every setting with its default. Copy what you change into a file of your own and start with
#   vtuber-brain run --config FILE
# What has no default is commented out. Meanings, allowed values and other sources: docs/settings.md.
# Written by `python -m tests.support.settings_doc`; a test keeps it current.
"""

MD_HEAD = """\
# Settings

`vtuber-brain run --config FILE` reads a TOML file (`configs/brain.toml` lists every key, `configs/demo.toml` is the
demo's). Each key can also be given from outside, and the later of these wins:

1. the file,
2. the environment: `VTB_SECTION__KEY`, for example `VTB_WEBSOCKET__PORT=9000`; lists and tables as JSON,
3. systemd credentials: a file `section__key` in `$CREDENTIALS_DIRECTORY`, for example `websocket__token`.

A key or a variable that is not in this list is an error. `vtuber-brain check --config FILE` names every problem at
once; `run` refuses to start with the same report and exit status 2. Secrets never appear in errors or logs,
and one in the file is refused unless the file is its user's alone (`chmod 600`).

Two folders are not settings but variables of the environment. `VTB_STATE_DIR` holds transcripts and releases (unset:
systemd's `STATE_DIRECTORY`, else `vtuber-brain` in the user's XDG state folder), `VTB_CACHE` the models (unset:
`vtuber-brain` in the user's XDG cache folder).

<!-- Written by `python -m tests.support.settings_doc`; a test keeps it current. -->
"""

PLUGINS = "Each plugin that is to run has a table of its own, with the keys its own page names."


def sections(of: type[BaseModel] = Settings, above: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Name and model of every section that has keys of ours, those within others after them."""
    for name, field in of.model_fields.items():
        if is_section(field):
            assert isinstance(field.annotation, type)
            yield above + name, field.annotation
            yield from sections(field.annotation, f"{above}{name}.")


def is_section(field: FieldInfo) -> bool:
    """Whether a key holds a table of keys of its own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def keys(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a section that are no sections themselves."""
    return {key: field for key, field in section.model_fields.items() if not is_section(field)}


def about(section: type[BaseModel]) -> str:
    """What the section is about: its docstring without the name."""
    return re.sub(r"^`\[[\w.]+\]` ", "", section.__doc__ or "").strip().rstrip(".")


def literal(value: Any) -> str:
    """A default as TOML writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {literal(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def sample(field: FieldInfo) -> str:
    """A value that shows what a key without a default takes."""
    kinds = get_args(field.annotation)
    return "8.0" if float in kinds else "8" if int in kinds else '"..."'


def brain_toml() -> str:
    """The whole of configs/brain.toml."""
    lines = [TOML_HEAD]
    for name, section in sections():
        lines.append(f"[{name}]  # {about(section)}")
        for key, field in keys(section).items():
            setting = f"# {key} = {sample(field)}" if field.default is None else f"{key} = {literal(field.default)}"
            lines.append(f"{setting}  # {field.description}")
        lines.append("")
    lines.append(f"# {Settings.model_fields['plugins'].description}")
    return "\n".join(lines) + "\n"


def takes(schema: dict[str, Any]) -> str:
    """What a key accepts, in words, from its JSON Schema."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    if len(options) > 1:
        return " or ".join(map(takes, options))
    (schema,) = options
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = {"integer": "whole number", "number": "number", "boolean": "true or false", "array": "list of texts"}
    word = {"password": "secret", "path": "path"}.get(schema.get("format", ""), kind.get(schema["type"], "text"))
    word = "table of texts" if schema["type"] == "object" else word
    bounds = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}"}
    limits = [text.format(f"{schema[bound]:g}") for bound, text in bounds.items() if bound in schema]
    return " ".join([word, ", ".join(limits)]).strip()


def settings_md() -> str:
    """The whole of docs/settings.md."""
    lines = [MD_HEAD]
    for name, section in sections():
        schemas = section.model_json_schema()["properties"]
        lines += [
            f"## [{name}]",
            "",
            f"{about(section)[:1].upper()}{about(section)[1:]}.",
            "",
            "| key | takes | default | meaning |",
        ]
        lines.append("|---|---|---|---|")
        for key, field in keys(section).items():
            default = "" if field.default is None else f"`{literal(field.default)}`"
            lines.append(f"| `{key}` | {takes(schemas[key])} | {default} | {field.description} |")
        lines.append("")
    return "\n".join([*lines, "## [plugins.NAME]", "", PLUGINS]) + "\n"


def main() -> None:
    """Rewrite both files."""
    BRAIN_TOML.write_text(brain_toml(), encoding="utf-8")
    SETTINGS_MD.write_text(settings_md(), encoding="utf-8")


if __name__ == "__main__":
    main()
