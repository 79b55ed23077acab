"""Whose mute it is: the brain's, which OBS follows, or a hand's in OBS, which is never undone from here. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Mutes:
    """`hers`: she is muted. `theirs`: the input in OBS is; None while that is not known. `ours`: we muted it.

    `asked` is what OBS was told and has not confirmed by an event; `by_hand` a wish for her that a hand in OBS made.
    """

    hers: bool = False
    theirs: bool | None = None
    ours: bool = False
    asked: bool | None = None
    by_hand: bool | None = None
    _overruled: bool = False
    _she_follows: bool = False

    def she_is(self, muted: bool) -> None:
        """The brain says how she is."""
        if muted != self.hers:
            self.hers, self._overruled = muted, False
            self._she_follows = self._she_follows and muted

    @property
    def wanted(self) -> bool | None:
        """What OBS is to be told about the input now; None: nothing."""
        if self.theirs is None:
            return None
        if self.hers and not self.theirs and not self._overruled:
            return True
        if not self.hers and self.theirs and self.ours:
            return False
        return None

    def known(self, muted: bool) -> None:
        """OBS was asked how the input is; an event that came meanwhile knows better.

        A mute of ours that was undone while nobody looked is no longer ours.
        """
        if self.theirs is None:
            self.theirs, self.ours = muted, self.ours and muted

    def ask(self, muted: bool) -> None:
        """OBS is about to be told."""
        self.asked, self.ours = muted, self.ours or muted

    def told(self, muted: bool) -> None:
        """OBS has done as it was told. Its event may have come before, and another after that: those count."""
        if self.asked == muted:
            self.theirs = self.ours = muted

    def seen(self, muted: bool) -> None:
        """OBS says that the input is muted or not. If nobody here asked for it, a hand did it."""
        asked, self.asked = self.asked, None
        if muted == asked:
            self.theirs = self.ours = muted
        elif muted != self.theirs:
            self.theirs, self.ours = muted, False
            self._by_hand(muted)

    def _by_hand(self, muted: bool) -> None:
        self._overruled = self.hers and not muted
        if muted and not self.hers:
            self.by_hand, self._she_follows = True, True
        elif not muted and self._she_follows:
            self.by_hand, self._she_follows = False, False
