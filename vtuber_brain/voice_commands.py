"""`vtuber-brain voice`: the process that speaks, and a sentence spoken for trial.

Exit codes: 0 done; 1 it could not be spoken; 2 the settings or an argument are wrong, or the port is taken.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from vtuber_brain.check import Finding
    from vtuber_brain.config import Settings
    from vtuber_brain.voice.service import Character

voice = App(name="voice", help="The voice: what speaks the sentences of the bus.")

MAX_CAST = 64

Config = Annotated[Path | None, Parameter(name="--config", help="The file the daemon is started with.")]


@voice.default
def speak(
    *,
    config: Config = None,
    with_parent: Annotated[
        bool, Parameter(name="--with-parent", help="End when standard input ends.", negative="", show=False)
    ] = False,
) -> None:
    """Speak what the daemon says, until SIGTERM or ctrl-C: over the overlay page, a sound device, or into files."""
    from vtuber_brain.config import load, secrets, state_dir
    from vtuber_brain.errors import ConfigError
    from vtuber_brain.exposure import unguarded_voice
    from vtuber_brain.runtime import logs
    from vtuber_brain.voice.service import Part, run

    settings = load(config)
    if problems := list(unguarded_voice(settings.voice)):
        raise ConfigError(problems)
    logs.setup(settings.logs.level, settings.logs.format, secrets(settings))
    logs.take_over()
    cast = Cast(settings)
    name = cast(settings.persona.name).face.persona
    folder = settings.voice.folder or state_dir() / "voice"
    part = Part(settings.voice, settings.bus, name, cast, folder)
    asyncio.run(run(part, is_child=with_parent, on_reload=cast.reload))


@voice.command
def say(
    text: str,
    *,
    to: Annotated[Path, Parameter(help="The WAV file to write.")],
    lang: Annotated[str | None, Parameter(help="BCP 47 language; unset: the persona's.")] = None,
    persona: Annotated[str | None, Parameter(help="In whose voice; unset: the persona of the settings.")] = None,
    config: Config = None,
) -> None:
    """Speak a sentence into a file, to hear how it sounds."""
    from vtuber_brain.config import load
    from vtuber_brain.context.personas import load_persona

    settings = load(config)
    known = load_persona(persona or settings.persona.name, settings.persona.dir)
    made = asyncio.run(_made(settings, text, lang or known.language, known.name))
    _say(f"{made[1]:.1f} s of sound by {made[0]} in {1000 * made[2]:.0f} ms: {to}")
    to.write_bytes(made[3])


async def _made(settings: "Settings", text: str, lang: str, persona: str) -> tuple[str, float, float, bytes]:
    from vtuber_brain.voice.sound import write_wav
    from vtuber_brain.voice.synthesis import Synthesis

    synthesis = Synthesis(settings.voice, lambda name: character(settings, name).voice)
    try:
        made = await synthesis.make(text, lang, persona)
    finally:
        await synthesis.close()
    return made.engine, made.clip.duration_s, made.took_s, write_wav(made.clip)


class Cast:
    """Who speaks, by name. A file that has become unreadable changes nobody: they sound as before."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._known: dict[str, Character] = {}

    def __call__(self, name: str) -> "Character":
        """As `character`, which reads each file once until `reload`."""
        if name not in self._known:
            while len(self._known) >= MAX_CAST:
                del self._known[next(iter(self._known))]
            self._known[name] = character(self._settings, name)
        return self._known[name]

    def reload(self) -> None:
        """Read the files anew."""
        import structlog

        from vtuber_brain.errors import ConfigError

        for name in self._known:
            try:
                self._known[name] = _read(self._settings, name)
            except ConfigError as error:
                structlog.get_logger(__name__).error("persona_not_read", persona=name, reason=str(error))


def character(settings: "Settings", name: str) -> "Character":
    """Who speaks under this name; a name without a readable file sounds like the persona of the settings.

    Raises ConfigError when that one cannot be read either.
    """
    from vtuber_brain.errors import ConfigError

    try:
        return _read(settings, name)
    except ConfigError:
        return _read(settings, settings.persona.name)


def _read(settings: "Settings", name: str) -> "Character":
    from vtuber_brain.context.personas import load_persona
    from vtuber_brain.voice.service import Character
    from vtuber_brain.voice.wire import Face

    known = load_persona(name, settings.persona.dir)
    return Character(Face(known.name, known.display_name, known.language), known.voice)


def findings(config: Path | None) -> "list[Finding]":
    """What `check` says of the voice; nothing where the settings cannot be read, which it says itself."""
    from vtuber_brain.check import Finding, port_taken
    from vtuber_brain.config import load
    from vtuber_brain.errors import ConfigError
    from vtuber_brain.voice.checking import problems

    try:
        settings = load(config)
        who = character(settings, settings.persona.name)
    except ConfigError:
        return []
    if not settings.voice.enabled:
        return [Finding("voice", "off", "voice.enabled is false: `run` starts none (`vtuber-brain voice` does)")]
    wrong = [Finding("voice", "wrong", text) for text in problems(settings.voice, who.voice, who.face.lang)]
    output, host, port = settings.voice.output, settings.voice.host, settings.voice.port
    if output == "overlay" and (taken := port_taken(host, port, "voice.port")):
        wrong.append(Finding("voice", "wrong", str(taken)))
    return wrong or [Finding("voice", "ok", f"{output}, port {port}")]


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
