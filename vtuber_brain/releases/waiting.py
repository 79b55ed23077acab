"""Releases that passed the gate and wait for a person's word: which they are, approved, refused. Reads no weights.

One that waits is whole and current nowhere. What is refused stands in the ledger as one that was rolled back does: the
same weights are never current again.
"""

import time

from vtuber_brain.errors import ConfigError, Problem
from vtuber_brain.releases.ledger import Approved, RolledBack, locked, read_ledger, write_ledger
from vtuber_brain.releases.publish import verify
from vtuber_brain.releases.store import Release, ReleaseStore

HELD = "held"


def waiting(store: ReleaseStore, persona: str) -> list[Release]:
    """Those that nobody has decided on yet, by name. Raises ConfigError for a damaged ledger."""
    ledger = store.ledger(persona)
    decided = {*ledger.approved, *ledger.promoted}
    held = [one for one in store.releases(persona) if is_held(one) and one.name not in decided]
    return [one for one in held if ledger.taken_back(one.name, one.content) is None]


def is_held(release: Release) -> bool:
    """Whether the gate's word was that it waits."""
    gate = (release.manifest or {}).get("gate")
    return isinstance(gate, dict) and gate.get("outcome") == HELD


def approve(store: ReleaseStore, persona: str, name: str | None, by: str, reason: str = "") -> Release:
    """Make one that waits the current one (None: the newest). Done again it ends what a crash has left undone.

    Raises ConfigError where none waits or that one does not, Refused for damaged files, and OSError.
    """
    release = _chosen(store, persona, name)
    verify(release)
    folder = store.folder(persona)
    with locked(folder):
        ledger = read_ledger(folder)
        ledger.approved.setdefault(release.name, Approved(at=time.time(), by=by, reason=reason))
        write_ledger(folder, ledger)
    store.make_current(release)
    return release


def refuse(store: ReleaseStore, persona: str, name: str | None, by: str, reason: str = "") -> Release:
    """Have one that waits (None: the newest) never go live. Raises as `approve`."""
    release = _chosen(store, persona, name)
    folder = store.folder(persona)
    with locked(folder):
        ledger = read_ledger(folder)
        told = f"refused: {reason}" if reason else "refused"
        ledger.rolled_back.setdefault(
            release.name, RolledBack(at=time.time(), by=by, reason=told, content=release.content)
        )
        write_ledger(folder, ledger)
    return release


def _chosen(store: ReleaseStore, persona: str, name: str | None) -> Release:
    there = waiting(store, persona)
    if name is None and there:
        return max(there, key=lambda one: (float((one.manifest or {}).get("created_at") or 0.0), one.name))
    if name is not None:
        release = store.find(persona, name)
        if release in there or (is_held(release) and name in store.ledger(persona).approved):
            return release
    named = ", ".join(one.name for one in there) or "none"
    what = f"{name} does not wait for a word" if name is not None else "no release waits for a word"
    raise ConfigError([Problem(persona, what, f"There wait: {named}; see: vtuber-brain persona releases")])
