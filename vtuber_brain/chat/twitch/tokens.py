"""The Twitch accounts that were logged in, with their tokens, in one file that only we may read.

The file is replaced as a whole and is on the disk before anyone uses what it says: a public application's refresh
token works once, so one that is lost is a login lost. Nothing here shows a token.
"""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vtuber_brain.errors import Refused

LOGIN = "vtuber-brain twitch login"
FILE = "twitch.json"


@dataclass(frozen=True, slots=True)
class Account:
    """One account; `scopes` are what its owner allowed us to do."""

    user_id: str
    login: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    scopes: tuple[str, ...]


class _Kept(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    client_id: str
    accounts: tuple[Account, ...]


class TokenFile:
    """The file at `path`; it need not exist."""

    def __init__(self, path: Path, client_id: str) -> None:
        self.path, self._client_id = path, client_id

    def load(self) -> dict[str, Account]:
        """The accounts by user id; none when nobody has logged in. Raises Refused when the file is none of ours."""
        try:
            return self._read()
        except OSError as error:
            problem = f"{self.path} cannot be read: {error.strerror}"
        except ValidationError:
            problem = f"{self.path} is damaged; log in again: {LOGIN}"
        raise Refused(problem)

    def put(self, account: Account) -> None:
        """Keep `account` in place of what was known of it. Raises Refused when it cannot be written.

        A damaged file is replaced; of another application's accounts none is kept.
        """
        try:
            known = self._read()
        except (OSError, ValidationError):
            known = {}
        self._replace({**known, account.user_id: account})

    def remove(self, user_id: str) -> None:
        """Forget an account; the file goes with the last one. Raises Refused when it cannot be written."""
        accounts = self.load()
        accounts.pop(user_id, None)
        if accounts:
            self._replace(accounts)
        else:
            self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Account]:
        try:
            kept = _Kept.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        # Another application's tokens are worth nothing to ours.
        return {account.user_id: account for account in kept.accounts if kept.client_id == self._client_id}

    def _replace(self, accounts: dict[str, Account]) -> None:
        kept = _Kept(client_id=self._client_id, accounts=tuple(accounts.values()))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(kept.model_dump_json(indent=1).encode())
        except OSError as error:
            problem = f"{self.path} cannot be written: {error.strerror}"
        else:
            return
        raise Refused(problem)

    def _write(self, content: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # made 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
