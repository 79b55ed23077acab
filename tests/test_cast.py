"""Who is on stage: changes that are whole or not at all, what stands ready, and what goes when room is needed."""

import asyncio

import pytest

from tests.support.scripted import ScriptedEngine
from vtuber_brain.cast import Cast
from vtuber_brain.context.personas import load_persona
from vtuber_brain.errors import ConfigError, EngineDown, LoraRejected, RequestFailed, Unavailable
from vtuber_brain.releases.store import ReleaseStore
from vtuber_brain.sections import PersonaSettings

LEAST = 'name = "{0}"\ndisplay_name = "{0}"\nlanguage = "en"\nsystem = "You are {0}."\n'


class Stage:
    """A cast on a scripted engine, with files of its own; `told` is what was said of the lora, `judged` who the judge
    takes her for.
    """

    def __init__(self, folder, max_loras=2):
        self.folder, self.told, self.judged = folder, [], "mia"
        self.engine = ScriptedEngine(lambda _request: ["Hello."], max_loras)
        self.store = ReleaseStore(folder / "state")
        self.settings = PersonaSettings(name="mia", dir=folder)
        for name in ("mia", "rin"):
            self.write(name)
            for release in ("r1", "r2", "r3"):
                self.lora(folder / "state" / name / "releases" / release)
        self.cast = self.new()

    def write(self, name, more=""):
        (self.folder / f"{name}.toml").write_text(LEAST.format(name) + more)

    def lora(self, folder):
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        return folder

    def new(self, base=None):
        persona = load_persona("mia", self.folder)
        told = lambda *what: self.told.append(what)  # noqa: E731
        return Cast(
            persona,
            self.settings,
            engine=self.engine,
            store=self.store,
            max_loras=self.engine.max_loras,
            on_lora=told,
            on_persona=lambda persona: lambda: setattr(self, "judged", persona.name),
            base=base,
        )

    @property
    def on_stage(self):
        role = self.cast.on_stage
        return role.persona.name, role.release, role.lora

    @property
    def ready(self):
        return [(one["persona"], one["release"]) for one in self.cast.listing()["ready"]]

    def consistent(self):
        """What the cast thinks is ready is what the engine has."""
        return {f"{persona}@{release}" for persona, release in self.ready} == set(self.engine.loras)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


async def test_without_a_release_the_base_model_speaks(stage):
    await stage.cast.open()
    assert stage.on_stage == ("mia", None, None)
    assert stage.engine.pins == {"mia@base": None}
    assert stage.told == [(True, "")]


async def test_use_loads_pins_and_then_switches(stage):
    await stage.cast.open()
    stage.engine.loading = asyncio.Event()
    using = asyncio.create_task(stage.cast.use("rin", "r2"))
    await asyncio.sleep(0)
    assert stage.on_stage == ("mia", None, None)
    stage.engine.loading.set()
    await using
    assert stage.on_stage == ("rin", "r2", "rin@r2")
    assert stage.engine.pins["rin@r2"] == "rin@r2"
    assert stage.store.current("rin").name == "r2"
    assert stage.store.current("mia") is None


async def test_a_restart_keeps_the_release_that_was_chosen_and_use_can_turn_it_back(stage):
    await stage.cast.use("mia", "r2")
    await stage.cast.use("mia", "base")
    again = stage.new()
    await again.open()
    assert (again.on_stage.release, again.on_stage.lora) == ("r2", "mia@r2")
    await again.use("mia", "r1")
    assert stage.store.current("mia").name == "r1"


async def test_a_persona_file_can_name_its_lora_relative_to_itself(stage):
    stage.lora(stage.folder / "mine")
    stage.write("mia", 'lora = "mine"\n')
    cast = stage.new()
    await cast.open()
    path = str(stage.folder / "mine")
    assert (cast.on_stage.release, cast.on_stage.lora) == (path, f"mia@{path}")
    assert stage.engine.loras == {f"mia@{path}": stage.folder / "mine"}
    await cast.use("mia", "r1")
    assert cast.on_stage.release == "r1"
    again = stage.new()
    await again.open()
    assert again.on_stage.release == "r1", "a release that was chosen goes before the file's lora"


async def test_a_directory_is_read_again_each_time_a_release_is_not(stage):
    mine = stage.lora(stage.folder / "mine")
    await stage.cast.use("mia", "r1")
    await stage.cast.use("mia", str(mine))
    stage.engine.failing = LoraRejected("holds NaN")
    with pytest.raises(LoraRejected):
        await stage.cast.use("mia", str(mine))
    await stage.cast.use("mia", "r1")
    assert stage.consistent()


@pytest.mark.parametrize(
    ("name", "release", "failing", "error"),
    [
        ("nobody", None, None, ConfigError),
        ("broken", None, None, ConfigError),
        ("rin", "r9", None, ConfigError),
        ("rin", "~nobody-of-this-name/lora", None, ConfigError),
        ("rin", "r2", LoraRejected("made for another base model"), LoraRejected),
        ("rin", "r2", EngineDown("killed"), EngineDown),
        ("rin", None, RequestFailed("prompt_too_long", "900 tokens"), RequestFailed),
    ],
)
async def test_a_change_that_fails_changes_nothing(stage, name, release, failing, error):
    stage.write("broken", "mood = 1\n")
    await stage.cast.open()
    await stage.cast.use("mia", "r1")
    await stage.cast.preload("mia", "r2")
    before = stage.on_stage, sorted(stage.ready)
    stage.engine.failing = failing
    with pytest.raises(error):
        await stage.cast.use(name, release)
    assert (stage.on_stage, sorted(stage.ready)) == before
    assert stage.judged == "mia"
    assert stage.store.current("rin") is None
    assert stage.consistent()


async def test_what_made_room_for_a_lora_that_is_refused_is_brought_back(stage, tmp_path):
    await stage.cast.use("mia", "r1")
    await stage.cast.preload("mia", "r2")
    (tmp_path / "state" / "rin" / "releases" / "r1" / "adapter_config.json").unlink()
    with pytest.raises(LoraRejected, match="no PEFT directory"):
        await stage.cast.use("rin", "r1")
    assert sorted(stage.ready) == [("mia", "r1"), ("mia", "r2")]
    assert stage.consistent()


async def test_a_pointer_that_cannot_be_written_leaves_her_where_she_was(stage, monkeypatch):
    await stage.cast.open()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        await stage.cast.use("rin", "r1")
    assert (stage.on_stage, stage.judged) == (("mia", None, None), "mia")
    assert stage.consistent()


async def test_a_release_that_was_rolled_back_leaves_her_judged_as_who_she_is(stage):
    await stage.cast.use("rin", "r1")
    assert stage.judged == "rin"
    stage.store.rollback("rin", "operator", "bad")
    await stage.cast.use("mia")
    with pytest.raises(ConfigError, match="rolled back"):
        await stage.cast.use("rin", "r1")
    assert (stage.on_stage, stage.judged) == (("mia", None, None), "mia")


async def test_the_idle_release_used_least_recently_makes_room(tmp_path):
    stage = Stage(tmp_path, max_loras=3)
    await stage.cast.use("mia", "r1")
    for release in ("r2", "r3", "r2"):
        await stage.cast.preload("mia", release)
    await stage.cast.preload("rin", "r1")
    assert stage.ready == [("rin", "r1"), ("mia", "r2"), ("mia", "r1")], "r3 was used before r2"
    for release in ("r2", "r3"):
        await stage.cast.preload("rin", release)
    assert stage.ready == [("rin", "r3"), ("rin", "r2"), ("mia", "r1")], "who is on stage stays"
    assert stage.consistent()


async def test_a_release_with_a_running_reply_makes_no_room(stage):
    await stage.cast.use("mia", "r1")
    role = stage.cast.enter()
    await stage.cast.use("mia", "r2")
    with pytest.raises(LoraRejected, match="all 2 loras are taken"):
        await stage.cast.use("mia", "r3")
    with pytest.raises(Unavailable, match="a reply runs on it"):
        await stage.cast.drop("mia", "r1")
    assert stage.on_stage == ("mia", "r2", "mia@r2")
    stage.cast.leave(role)
    await stage.cast.use("mia", "r3")
    assert stage.ready == [("mia", "r3"), ("mia", "r2")]
    assert stage.consistent()


async def test_drop_frees_what_is_idle_and_refuses_the_rest(stage):
    await stage.cast.use("mia", "r1")
    await stage.cast.preload("mia", "r2")
    assert [role.label for role in await stage.cast.drop("mia")] == ["mia@r2"]
    with pytest.raises(Unavailable, match="on stage"):
        await stage.cast.drop("mia")
    with pytest.raises(Unavailable, match="not loaded"):
        await stage.cast.drop("rin", "r1")
    assert stage.ready == [("mia", "r1")]
    assert stage.consistent()


async def test_at_start_a_lora_that_is_refused_costs_the_voice_not_the_stream(stage, tmp_path):
    stage.store.make_current(stage.store.find("mia", "r1"))
    (tmp_path / "state" / "mia" / "releases" / "r1" / "adapter_config.json").unlink()
    await stage.cast.open()
    assert stage.on_stage == ("mia", None, None)
    ((up, reason),) = stage.told
    assert not up
    assert "no PEFT directory" in reason
    await stage.cast.use("mia", "r2")
    assert stage.told[-1] == (True, "")


async def test_at_start_a_pointer_that_leads_nowhere_is_told_too(stage, tmp_path):
    (tmp_path / "state" / "mia" / "current").write_text('{"release": "gone"}')
    await stage.cast.open()
    assert stage.on_stage == ("mia", None, None)
    assert "gone" in stage.told[0][1]


async def test_a_lora_that_the_engine_has_lost_is_told_and_asked_for_again_by_use(stage):
    await stage.cast.use("mia", "r1")
    role = stage.cast.enter()
    stage.engine.loras.clear()  # a worker that was started again refused it
    plain = stage.cast.without_lora(role, "mia@r1 is not loaded")
    assert (plain.persona, plain.release, plain.lora) == (role.persona, None, None)
    assert stage.cast.without_lora(role, "again") == plain
    assert stage.on_stage == ("mia", None, None)
    assert stage.told.count((False, "mia@r1 is not loaded")) == len([one for one in stage.told if not one[0]]) == 1
    stage.cast.leave(role)
    await stage.cast.use("mia", "r1")
    assert stage.on_stage == ("mia", "r1", "mia@r1")
    stage.engine.loras.clear()
    await stage.cast.use("mia", "r1")
    assert stage.consistent()


async def test_the_file_of_who_is_on_stage_is_read_again(stage):
    await stage.cast.use("rin", "r1")
    role = stage.cast.enter()
    stage.write("rin", "safe_lines = ['Hm.']\n")
    stage.cast.reread(stage.settings)
    assert stage.cast.on_stage.persona.safe_lines == ("Hm.",)
    assert stage.on_stage == ("rin", "r1", "rin@r1")
    assert role.persona.safe_lines == (), "a running reply ends as it began"
    stage.write("rin", "mood = 1\n")
    with pytest.raises(ConfigError):
        stage.cast.reread(stage.settings)
    assert stage.cast.on_stage.persona.safe_lines == ("Hm.",)


async def test_listing_and_show_tell_what_there_is(stage, tmp_path):
    await stage.cast.use("mia", "r1")
    await stage.cast.preload("rin", "r2")
    (tmp_path / "state" / "mia" / "releases" / "r1" / "manifest.json").write_text('{"window": "2030-01-01"}')
    listing = stage.cast.listing()
    assert listing["on_stage"] == {"persona": "mia", "release": "r1"}
    assert listing["personas"] == [
        {"name": "mia", "current": "r1", "releases": ["r1", "r2", "r3"]},
        {"name": "rin", "current": None, "releases": ["r1", "r2", "r3"]},
    ]
    shown = stage.cast.show("mia")
    assert shown["on_stage"] == shown["ready"][0] == {"persona": "mia", "release": "r1"}
    assert shown["manifests"] == {"r1": {"window": "2030-01-01"}, "r2": None, "r3": None}
    with pytest.raises(ConfigError):
        stage.cast.show("nobody")


async def test_changes_come_one_after_the_other(stage):
    stage.engine.loading = asyncio.Event()
    first = asyncio.create_task(stage.cast.use("mia", "r1"))
    second = asyncio.create_task(stage.cast.use("rin", "r1"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not stage.engine.loras
    stage.engine.loading.set()
    await asyncio.gather(first, second)
    assert stage.on_stage == ("rin", "r1", "rin@r1")
    assert stage.consistent()


async def test_a_lora_in_the_file_that_says_it_is_for_another_base_is_left_aside(stage):
    mine = stage.lora(stage.folder / "mine")
    stage.write("mia", 'lora = "mine"\n')
    (mine / "manifest.json").write_text('{"base": {"name": "bundled:small", "sha256": null}}')
    for base, used in (("someone/large", False), ("bundled:small", True)):
        cast = stage.new(base=base)
        await cast.open()
        assert (cast.on_stage.release == str(mine)) == used
    assert all(up for up, _ in stage.told), "it is no failure"
