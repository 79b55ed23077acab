"""A rich console that writes on paper, and lets a test wait for what is to be read there."""

import asyncio
import io

from rich.console import Console

DEADLINE_S = 20.0


class Paper(io.StringIO):
    def __init__(self, *, is_terminal: bool = True, width: int = 100) -> None:
        super().__init__()
        self.console = Console(
            file=self, force_terminal=is_terminal, width=width, color_system=None, legacy_windows=False, _environ={}
        )
        self._written = asyncio.Event()

    def write(self, text: str) -> int:
        self._written.set()
        return super().write(text)

    async def shows(self, text: str) -> None:
        """Return once `text` stands anywhere."""
        async with asyncio.timeout(DEADLINE_S):
            while text not in self.getvalue():
                self._written.clear()
                await self._written.wait()

    def lines(self) -> list[str]:
        """What is to be read, line by line, with single spaces."""
        return [" ".join(line.split()) for line in self.getvalue().splitlines() if line.strip()]
