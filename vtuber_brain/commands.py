"""What the operator can order over the bus, and what each order does. One at a time; the bus sees to that."""

from vtuber_brain.bus import control
from vtuber_brain.bus.control import Control, ControlResult, answer
from vtuber_brain.cast import Cast
from vtuber_brain.engine.api import Engine
from vtuber_brain.pipeline import Pipeline
from vtuber_brain.roles import Role


class Commands:
    """Obeys. What a command raises is answered by the bus with the code `failed` and the reason."""

    def __init__(self, pipeline: Pipeline, cast: Cast, engine: Engine, *, drain_s: float) -> None:
        self._pipeline, self._cast, self._engine, self._drain_s = pipeline, cast, engine, drain_s

    async def obey(self, command: Control) -> ControlResult:
        """Do it and say how it went. Raises BrainError."""
        match command:
            case control.Mute() | control.Unmute() | control.Skip() | control.Say():
                return await self._speech(command)
            case control.Sleep() | control.Wake():
                return await self._rest(command)
            case _:
                return await self._stage(command)

    async def _speech(self, command: Control) -> ControlResult:
        match command:
            case control.Mute():
                self._pipeline.mute()
            case control.Unmute():
                self._pipeline.unmute()
            case control.Skip():
                if not self._pipeline.skip():
                    return answer(command, "nothing_to_skip", "nobody is speaking")
            case control.Say(text=text):
                verdict = await self._pipeline.say(text)
                if verdict.action == "deny":
                    return answer(command, "denied", ", ".join(verdict.reasons))
        return answer(command)

    async def _rest(self, command: Control) -> ControlResult:
        if isinstance(command, control.Sleep):
            await self._pipeline.sleep(self._drain_s)
            await self._engine.sleep()
        else:
            await self._engine.wake()
            self._pipeline.wake()
        return answer(command)

    async def _stage(self, command: Control) -> ControlResult:
        match command:
            case control.UsePersona(name=name, release=release):
                return answer(command, data=_told(await self._cast.use(name, release)))
            case control.Preload(name=name, release=release):
                return answer(command, data=_told(await self._cast.preload(name, release)))
            case control.DropRelease(name=name, release=release):
                dropped = await self._cast.drop(name, release)
                return answer(command, data={"dropped": [_told(role) for role in dropped]})
            case control.Show(name=name):
                return answer(command, data=self._cast.show(name))
            case _:
                return answer(command, data=self._cast.listing())


def _told(role: Role) -> dict[str, str | None]:
    return {"persona": role.persona.name, "release": role.release}
