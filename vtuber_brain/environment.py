"""What the environment and systemd's credentials hold for the settings, and what in them no setting takes.

pydantic-settings overlooks a mistyped name, and stops at the first value that is not the JSON it should be without
saying whose it is; here every one is named. It never reads the file, and never repeats a value.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from vtuber_brain.errors import Problem

ENV_PREFIX = "VTB_"
ENV_DELIMITER = "__"
NOT_SETTINGS = frozenset({"VTB_STATE_DIR", "VTB_CACHE"})
CREDENTIALS = "CREDENTIALS_DIRECTORY"


def credentials(files: PydanticBaseSettingsSource) -> Iterator[NestedSecretsSettingsSource]:
    """The source that reads the files systemd has put in place (`websocket__token`); none where it has put none."""
    if folder := os.environ.get(CREDENTIALS):
        yield NestedSecretsSettingsSource(
            files,
            secrets_dir=folder,
            secrets_dir_missing="ok",
            secrets_nested_delimiter=ENV_DELIMITER,
            env_prefix="",
        )


def problems(settings: type[BaseSettings]) -> Iterator[Problem]:
    """Everything in the environment and the credentials that `settings` could not take as it is meant."""
    yield from _unparsable_variables(settings)
    yield from _mistyped_variables(settings.model_fields)
    yield from _mistyped_credentials(settings.model_fields)


def _variables() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(ENV_PREFIX) and name not in NOT_SETTINGS)


def _unparsable_variables(settings: type[BaseSettings]) -> Iterator[Problem]:
    source = EnvSettingsSource(settings)
    for name in _variables():
        source.env_vars = {name.lower(): os.environ[name]}
        try:
            source()
        except SettingsError:
            fix = 'Write a list as ["a", "b"] and a table as {"key": "value"}'
            yield Problem(f"environment: {name}", "neither a JSON list nor a JSON table", fix)


def _mistyped_variables(sections: Collection[str]) -> Iterator[Problem]:
    for name in _variables():
        if name.removeprefix(ENV_PREFIX).split(ENV_DELIMITER)[0].lower() not in sections:
            yield Problem(f"environment: {name}", "unknown setting", "Write VTB_SECTION__KEY, as in docs/settings.md")


def _mistyped_credentials(sections: Collection[str]) -> Iterator[Problem]:
    folder = os.environ.get(CREDENTIALS)
    if folder and not Path(folder).is_dir():
        yield Problem(f"{CREDENTIALS}: {folder}", "no such directory", "Leave it to systemd's LoadCredential=")
    elif folder:
        for file in sorted(Path(folder).iterdir()):
            section, delimiter, _ = file.name.partition(ENV_DELIMITER)
            if delimiter and section not in sections:
                yield Problem(
                    f"credential: {file.name}", "unknown setting", "Name it section__key, as in docs/settings.md"
                )
