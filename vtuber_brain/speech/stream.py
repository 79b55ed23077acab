"""A reply's stream of text as lines to speak: each a sentence with the cue that belongs to it. Pure push/flush."""

from collections.abc import Collection
from dataclasses import dataclass

from vtuber_brain.messages import Cue
from vtuber_brain.speech.cues import Cues
from vtuber_brain.speech.sentences import Sentences


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence and the cue in it or before it. Without text it is a cue that no sentence follows."""

    text: str
    cue: Cue | None

    @property
    def written(self) -> str:
        """As the model may have written it, `[cue] text`: what memory keeps, so that past turns look like new ones."""
        return " ".join(([f"[{self.cue.name}]"] if self.cue else []) + ([self.text] if self.text else []))


class Speech:
    """`cue_names` are what the avatar knows; no text is longer than `max_chars` characters.

    Feed it pieces in order, then flush; then it is as new. How the text was chopped changes nothing. Of several cues in
    one sentence the first goes with it, the others follow it alone.
    """

    def __init__(self, cue_names: Collection[str], max_chars: int) -> None:
        self._cues = Cues(cue_names)
        self._sentences = Sentences(max_chars)
        self._waiting: list[tuple[int, Cue]] = []
        self._heard = self._said = 0

    def feed(self, piece: str) -> list[Line]:
        """The lines that `piece` shows to be complete."""
        return [line for item in self._cues.feed(piece) for line in self._take(item)]

    def flush(self) -> list[Line]:
        """The rest: an unfinished sentence, then cues after the last one."""
        lines = [line for item in self._cues.flush() for line in self._take(item)]
        lines += [line for text in self._sentences.flush() for line in self._lines(text)]
        lines += [Line("", cue) for _, cue in self._waiting]
        self._waiting.clear()
        return lines

    def _take(self, item: str | Cue) -> list[Line]:
        if isinstance(item, Cue):
            self._waiting.append((self._heard, item))
            return []
        lines = [line for text in self._sentences.feed(item) for line in self._lines(text)]
        self._heard += _num_marks(item)
        return lines

    def _lines(self, text: str) -> list[Line]:
        # Sentences lose nothing but white space, so counting the rest tells exactly where a cue stood.
        self._said += _num_marks(text)
        inside = [cue for place, cue in self._waiting if place < self._said]
        del self._waiting[: len(inside)]
        return [Line(text, inside[0] if inside else None), *(Line("", cue) for cue in inside[1:])]


def _num_marks(text: str) -> int:
    return len("".join(text.split()))
