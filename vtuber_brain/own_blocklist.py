"""The block list that the operator changes while she runs: one file, changed as a whole, its comments kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtuber_brain.config import state_dir
from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.runtime.files import write_whole
from vtuber_brain.sections import SentimentSettings
from vtuber_brain.sentiment.blocklist import load_blocklist

FILE = "blocklist.txt"
HEAD = "# Words and phrases of your own, beside the list that ships; one a line.\n"

Change = Literal["add", "remove", "replace"]


def own_list(settings: SentimentSettings) -> Path:
    """The operator's list: the one the settings name, else the one in the state folder, which need not be there."""
    return settings.blocklist or state_dir() / FILE


@dataclass(frozen=True, slots=True)
class OwnBlocklist:
    """The list at `path`. `reload` has her judge by it; when that raises ConfigError, the file is as it was."""

    path: Path
    reload: Callable[[], object]

    def entries(self) -> list[str]:
        """What it holds, in its order. Raises ConfigError when it cannot be read."""
        return [entry for line in self._lines() if (entry := _entry(line))]

    def change(self, change: Change, entries: Sequence[str]) -> str:
        """Do it; the answer's code: ok, listed_already, not_listed. Raises ConfigError, and nothing is changed."""
        before = self._lines()
        if change != "remove" and not all(map(_is_entry, entries)):
            raise ConfigError([Problem(str(self.path), "an entry is no word or phrase", "Give letters, single spaces")])
        known = {entry.casefold() for line in before if (entry := _entry(line))}
        wanted = {entry.strip().casefold() for entry in entries}
        match change:
            case "add" if wanted <= known:
                return "listed_already"
            case "add":
                after = [*before, *(entry.strip() for entry in entries if entry.strip().casefold() not in known)]
            case "remove" if not wanted & known:
                return "not_listed"
            case "remove":
                after = [line for line in before if (_entry(line) or "").casefold() not in wanted or not _entry(line)]
            case "replace":
                after = [*(line for line in before if not _entry(line)), *(entry.strip() for entry in entries)]
        self._take_over(before, after)
        return "ok"

    def _take_over(self, before: Sequence[str], after: Sequence[str]) -> None:
        was_there = self.path.exists()
        self._write(after if was_there else [HEAD.strip(), *after])
        try:
            load_blocklist(self.path)
            self.reload()
        except ConfigError:
            if was_there:
                self._write(before)
            else:
                self.path.unlink(missing_ok=True)
            raise

    def _write(self, lines: Sequence[str]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            fix = "Make it writable for the daemon, or unset sentiment.blocklist to use the state folder's"
            raise ConfigError([Problem(str(self.path), error.strerror or "cannot be written", fix)]) from None

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([Problem(str(self.path), f"cannot be read: {error}", "Save it as UTF-8")]) from None


def _is_entry(text: str) -> bool:
    """Whether a line of this would be this entry and nothing else."""
    return text.splitlines() == [text] and _entry(text) == text.strip() != ""


def _entry(line: str) -> str:
    """The word or phrase in a line; empty for a comment or a heading."""
    entry = line.split("#")[0].strip()
    return "" if entry.startswith("[") and entry.endswith("]") else entry
