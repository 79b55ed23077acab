"""The token bucket: how often something may happen. Pure; the caller brings the clock."""


class Bucket:
    """Allows `burst` at once and `per_s` each second in the long run; times are seconds of one monotonic clock."""

    __slots__ = ("_burst", "_per_s", "_tokens", "_updated_s")

    def __init__(self, burst: float, per_s: float, now_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._tokens, self._updated_s = burst, now_s

    def take(self, now_s: float) -> bool:
        """Use one token; False when there is none."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._updated_s) * self._per_s)
        self._updated_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
