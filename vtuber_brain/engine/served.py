"""Loras at the servers: which are wanted, under which name each is asked for, and when an old one may go.

vLLM keys its prefix cache on a lora's name, and loading in place changes the weights under running replies. So every
content gets a name of its own, NAME@HASH: a new release is a new name, and the old one is unloaded when its last reply
has ended. What another daemon loaded under the same name is used, and left alone.
"""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vtuber_brain.engine.endpoints import ServerFailed
from vtuber_brain.errors import EngineDown, LoraRejected, RequestFailed

if TYPE_CHECKING:
    from vtuber_brain.engine.server import Server

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
HASH_CHARS = 12


@dataclass(frozen=True, slots=True)
class _Lora:
    model: str
    path: Path


class ServedLoras:
    """The loras that requests may name. In mode `served` they are at the servers already, under their own names."""

    def __init__(self, mode: Literal["served", "vllm"], servers: "Sequence[Server]") -> None:
        self._mode, self._servers = mode, servers
        self._wanted: dict[str, _Lora] = {}
        self._running: Counter[str] = Counter()
        self._ours: dict[Server, set[str]] = {server: set() for server in servers}
        self._loading = {server: asyncio.Lock() for server in servers}
        self._changing = asyncio.Lock()

    @contextlib.contextmanager
    def in_use(self, name: str) -> Iterator[str]:
        """The model name that `name` is asked for by; it stays loaded for the time of the block.

        Raises RequestFailed (unknown_lora).
        """
        if name not in self._wanted:
            raise RequestFailed("unknown_lora", f"{name} was not loaded")
        model = self._wanted[name].model
        self._running[model] += 1
        try:
            yield model
        finally:
            self._running[model] -= 1

    async def load(self, name: str, path: Path) -> None:
        """Have every server that is up take it in. Raises LoraRejected (what was there stays) or EngineDown."""
        async with self._changing:
            servers = [server for server in self._servers if server.endpoint.up]
            if not servers:
                raise EngineDown("no server answers")
            if self._mode == "served":
                await asyncio.gather(*(_must_list(server, name) for server in servers))
                self._wanted[name] = _Lora(name, path)
            else:
                await self._load_everywhere(name, path, servers)

    async def drop(self, name: str) -> None:
        """Forget it; the servers unload it when its last reply has ended."""
        self._wanted.pop(name, None)
        await self.tidy()

    async def restore(self, server: "Server") -> None:
        """Load what this server should have and does not: it was down, or was restarted. Raises as `load`."""
        if self._mode == "vllm":
            for lora in list(self._wanted.values()):
                await self._put(server, lora)

    async def reload(self, server: "Server", model: str) -> bool:
        """Load `model` again where the server says that it has none, if it is ours to load. Raises as `load`."""
        missing = [lora for lora in self._wanted.values() if lora.model == model and self._mode == "vllm"]
        server.served -= {model}
        for lora in missing:
            await self._put(server, lora)
        return bool(missing)

    async def tidy(self) -> None:
        """Unload what we loaded, nobody wants any more, and no reply runs on. To be called now and then."""
        if not self._changing.locked():  # who holds it tidies up at the end
            async with self._changing:
                await self._unload_unwanted()

    async def _load_everywhere(self, name: str, path: Path, servers: "Sequence[Server]") -> None:
        lora = await asyncio.to_thread(_named_by_content, name, path)
        outcomes = await asyncio.gather(*(self._put(server, lora) for server in servers), return_exceptions=True)
        problems = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        # One that cannot be reached gets it when it is back; one that refuses it leaves everything as it was.
        fatal = [problem for problem in problems if not isinstance(problem, EngineDown)]
        if fatal or len(problems) == len(servers):
            await self._unload_unwanted()
            raise (fatal or problems)[0]
        self._wanted[name] = lora
        await self._unload_unwanted()

    async def _unload_unwanted(self) -> None:
        wanted = {lora.model for lora in self._wanted.values()}
        for server in self._servers:
            for model in self._ours[server] - wanted:
                if server.endpoint.up and not self._running[model]:
                    self._ours[server].discard(model)
                    with contextlib.suppress(ServerFailed):  # what it no longer has is what we want
                        await server.unload_lora(model)

    async def _put(self, server: "Server", lora: _Lora) -> None:
        async with self._loading[server]:
            if lora.model in server.served:
                return
            try:
                await server.load_lora(lora.model, lora.path)
            except ServerFailed as failure:
                if failure.kind == "connection":
                    raise EngineDown(f"{server.endpoint.shown}: {failure.reason}") from None
                if "already been loaded" not in failure.words:  # by another daemon, a moment ago
                    raise LoraRejected(f"{server.endpoint.shown}: {_advice(failure)}") from None
            else:
                self._ours[server].add(lora.model)


async def _must_list(server: "Server", name: str) -> None:
    with contextlib.suppress(ServerFailed):
        await server.look()
    if name not in server.served:
        raise LoraRejected(
            f"{server.endpoint.shown} does not serve {name}: start it with the lora under that name "
            f'(vLLM: --lora-modules {name}=PATH), or set remote.loras = "vllm"'
        )


def _named_by_content(name: str, folder: Path) -> _Lora:
    digest = hashlib.sha256()
    try:
        for file in (CONFIG, WEIGHTS):
            digest.update((folder / file).read_bytes())
    except OSError as error:
        raise LoraRejected(f"{error.filename}: {error.strerror}; a lora is a PEFT directory with safetensors") from None
    return _Lora(f"{name}@{digest.hexdigest()[:HASH_CHARS]}", folder.absolute())


def _advice(failure: ServerFailed) -> str:
    if failure.kind == "not_found":
        return "has no /load_lora_adapter: start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
    return str(failure)
