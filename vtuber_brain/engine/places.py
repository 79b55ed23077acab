"""Which lora stands in which place of the bank, under which name, and how many replies still run on it. Pure.

A place is free when no name leads to it and no reply runs on it. One place more than the promised number of loras is
kept, so that a name in use can get new weights while replies end on the old.
"""

from dataclasses import dataclass

from vtuber_brain.errors import LoraRejected


@dataclass(slots=True)
class Place:
    """One place in the bank: the content hash of what it holds (None: nothing yet) and the replies that run on it."""

    index: int
    content_hash: str | None = None
    num_running: int = 0


class Places:
    """All places, and the names that lead to them."""

    def __init__(self, max_loras: int) -> None:
        self.max_loras = max_loras
        self._places = [Place(index) for index in range(max_loras + 1 if max_loras else 0)]
        self._names: dict[str, Place] = {}

    @property
    def names(self) -> dict[str, str]:
        """Content hash by name."""
        return {name: place.content_hash for name, place in self._names.items() if place.content_hash is not None}

    def check_room(self, name: str) -> None:
        """Raise LoraRejected when `name` would be one lora too many."""
        if name not in self._names and len(self._names) >= self.max_loras:
            there = ", ".join(sorted(self._names)) or "none"
            raise LoraRejected(f"all {self.max_loras} loras are taken ({there}); drop one or raise engine.max_loras")

    def claim(self, content_hash: str) -> tuple[Place, bool] | None:
        """A place for `content_hash`, and whether its weights must be copied in: what it held is then forgotten.

        None when every place still has replies running: ask again after some have ended.
        """
        same = next((place for place in self._places if place.content_hash == content_hash), None)
        if same is not None:
            return same, False
        named = {id(place) for place in self._names.values()}
        free = (place for place in self._places if id(place) not in named and not place.num_running)
        place = min(free, key=lambda place: place.content_hash is not None, default=None)
        if place is None:
            return None
        place.content_hash = None
        return place, True

    def lead(self, name: str, place: Place, content_hash: str) -> None:
        """Have `name` lead to a claimed place, which now holds all of `content_hash`."""
        place.content_hash = content_hash
        self._names[name] = place

    def drop(self, name: str) -> None:
        """Forget a name; its place is free when its last reply has ended."""
        self._names.pop(name, None)

    def take(self, name: str) -> Place | None:
        """The place a new reply under `name` runs on until `give_back`; None for an unknown name."""
        place = self._names.get(name)
        if place is not None:
            place.num_running += 1
        return place

    @staticmethod
    def give_back(place: Place) -> None:
        """A reply on `place` has ended."""
        assert place.num_running > 0, f"place {place.index} given back twice"
        place.num_running -= 1

    def check_integrity(self, running: list[int]) -> None:
        """Raise AssertionError unless the counts are those of the `running` replies' places."""
        for place in self._places:
            assert place.num_running == running.count(place.index), f"place {place.index} lost count"
        assert len(self._names) <= self.max_loras, "more loras than promised"
        hashes = [place.content_hash for place in self._places if place.content_hash is not None]
        assert len(set(hashes)) == len(hashes), "the same weights in two places"
