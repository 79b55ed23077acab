"""The house as DESIGN lays it out: who may import whom, where torch may live, how long a file is, where errors stop."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "vtuber_brain"
MAX_LINES = 300

LAYERS: list[set[str]] = [
    {"messages", "errors"},
    {"config", "runtime", "plugin_api"},
    {
        "chat",
        "sentiment",
        "context",
        "speech",
        "bus",
        "releases",
        "transcripts",
        "plugins",
        "engine",
        "models",
        "control",
    },
    {"pipeline"},
    {"panel"},
    {"app"},
    {"cli"},
]
ROOM_OF = {
    "control_sections": "config",
    "exposure": "config",
    "playback": "pipeline",
    **dict.fromkeys(["air", "backstage", "controls", "desk", "mute_mark", "own_blocklist"], "app"),
    "top": "cli",
    **dict.fromkeys(["environment", "night_sections", "sections", "voice_sections"], "config"),
    "voice_keeper": "app",
    "voice_commands": "cli",
    **dict.fromkeys(["guarded", "manifests"], "plugins"),
    "nights": "releases",
    **dict.fromkeys(
        [
            "canned",
            "cast",
            "crowd",
            "door",
            "floor",
            "gate",
            "holds",
            "publisher",
            "replies",
            "roles",
            "sentry",
            "silence",
            "thoughts",
        ],
        "pipeline",
    ),
    **dict.fromkeys(
        [
            "assembly",
            "backing",
            "check",
            "commands",
            "installing",
            "judging",
            "openness",
            "parts",
            "plan",
            "rehearsal",
            "reloading",
            "started",
            "supply",
        ],
        "app",
    ),
    **dict.fromkeys(
        ["__main__", "console", "console_scores", "night", "speech_commands", "stage", "twitch_commands"], "cli"
    ),
    "console_measured": "cli",
    **dict.fromkeys(
        [
            "candidate_commands",
            "classifier_commands",
            "filter_commands",
            "nightly_commands",
            "orders",
            "panel_commands",
            "release_commands",
            "service_commands",
            "transcript_commands",
        ],
        "cli",
    ),
}
DAEMON_ENGINE = {"engine", "engine.api", "engine.wire", "engine.client"} | {
    f"engine.{name}" for name in ("remote", "chunks", "endpoints", "gauges", "scripted", "served", "server")
}
VOICE_USES = {"bus", "voice"}
RETRAIN_USES = {"transcripts", "context", "engine", "sentiment", "speech", "releases", "retrain"}
HEAVY = {"torch", "transformers", "peft", "tokenizers", "safetensors", "gguf", "accelerate"}
BOUNDARIES = {"vtuber_brain/pipeline.py", "vtuber_brain/plugins.py", "vtuber_brain/engine/worker.py"}


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def name_of(file: Path) -> str:
    """`vtuber_brain/bus/mqtt.py` is `bus.mqtt`, a room's own file is the room, the package itself is empty."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SHIPPED = [*sources(PACKAGE), *sources(ROOT / "plugins")]
MODULES = {name_of(file): file for file in sources(PACKAGE)}


def imported(tree: ast.AST, module: str = "") -> Iterator[str]:
    """Full dotted names of everything imported anywhere in `tree`, in functions and for types too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or not module, f"{module}: write imports in full"
            if node.level:  # a plugin's own files: they have no full name
                continue
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(module: str) -> set[str]:
    """The modules of ours that `module` imports."""
    found = set()
    for name in imported(ast.parse(MODULES[module].read_text()), module):
        top, _, rest = name.partition(".")
        if top == PACKAGE.name:
            found.add(rest if rest in MODULES else rest.rpartition(".")[0])
    return found


IMPORTS = {module: ours(module) for module in MODULES}


def room(module: str) -> str:
    top = module.split(".")[0]
    return ROOM_OF.get(top, top)


def layer(module: str) -> int:
    (found,) = [index for index, rooms in enumerate(LAYERS) if room(module) in rooms] or [-1]
    assert found >= 0, f"{module} stands in no layer; DESIGN's list and LAYERS say where a room belongs"
    return found


def beside(module: str) -> bool:
    """Whether the module belongs to a child process or to the nightly run: where torch may live."""
    top = room(module)
    return (
        top in {"retrain", "voice"}
        or module in {"sentiment.model", "sentiment.worker"}
        or (top == "engine" and module not in DAEMON_ENGINE)
    )


DAEMON = sorted(module for module in MODULES if module and not beside(module))
BESIDE = sorted(module for module in MODULES if beside(module))


@pytest.mark.parametrize("module", DAEMON)
def test_imports_only_go_up_the_list_and_siblings_never_meet(module):
    for target in IMPORTS[module]:
        if room(target) == "retrain" or beside(target):
            assert room(module) in {"cli", room(target)}, f"{module} imports {target}, which belongs to another process"
            assert room(module) == "cli" or not beside(target), f"{module} imports {target}, where torch lives"
        elif room(target) != room(module):
            assert layer(target) < layer(module), f"{module} imports {target}, which is not above it"


@pytest.mark.parametrize("module", BESIDE)
def test_what_stands_beside_uses_its_own_room_and_the_ground_below(module):
    allowed = {"retrain": RETRAIN_USES, "voice": VOICE_USES}.get(room(module), {room(module)})
    for target in IMPORTS[module]:
        assert room(target) in allowed or layer(target) <= 1, f"{module} imports {target}"


def test_messages_and_errors_import_nothing_of_ours():
    assert IMPORTS["messages"] == IMPORTS["errors"] == IMPORTS[""] == set()


def test_nothing_is_imported_in_a_circle():
    TopologicalSorter(IMPORTS).prepare()


@pytest.mark.parametrize("module", [*DAEMON, *(module for module in BESIDE if room(module) == "voice")])
def test_torch_and_its_kin_are_named_only_beside_the_daemon(module):
    tops = {name.split(".")[0] for name in imported(ast.parse(MODULES[module].read_text()))}
    assert not tops & HEAVY


def test_a_fresh_import_of_the_whole_daemon_leaves_torch_out():
    modules = [f"vtuber_brain.{module}" for module in DAEMON if module != "__main__"]  # that one would run
    code = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert told.stdout.strip() == "[]", told.stderr


def test_a_plugin_imports_nothing_of_ours_but_the_plugin_api():
    for file in sources(ROOT / "plugins"):
        names = [name for name in imported(ast.parse(file.read_text())) if name.split(".")[0] == PACKAGE.name]
        assert all(name.startswith("vtuber_brain.plugin_api") for name in names), f"{file.relative_to(ROOT)}: {names}"


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_is_longer_than_a_reader_can_hold(file):
    assert len(file.read_text().splitlines()) <= MAX_LINES


def broad(tree: ast.AST) -> Iterator[int]:
    """Lines at which any error at all is caught."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = {"BaseException"} if node.type is None else {ast.unparse(part) for part in parts(node.type)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            caught = {ast.unparse(argument) for argument in node.args}
        else:
            continue
        if caught & {"Exception", "BaseException"}:
            yield node.lineno


def parts(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def test_every_error_is_caught_at_three_boundaries_and_nowhere_else():
    for file in SHIPPED:
        lines = list(broad(ast.parse(file.read_text())))
        allowed = str(file.relative_to(ROOT)) in BOUNDARIES
        assert len(lines) <= int(allowed), f"{file.relative_to(ROOT)} catches everything at lines {lines}"


def test_the_walkers_see_what_they_look_for():
    tree = ast.parse(
        "def f():\n"
        "    from vtuber_brain.bus import topics\n"
        "    import torch.nn as nn\n"
        "    try: ...\n"
        "    except (OSError, Exception): ...\n"
        "    with contextlib.suppress(BaseException): ...\n"
        "    try: ...\n"
        "    except: ...\n"
        "    try: ...\n"
        "    except ValueError: ...\n"
        "    try: ...\n"
        "    except BaseException: raise\n"
    )
    assert list(imported(tree)) == ["vtuber_brain.bus.topics", "torch.nn"]
    assert sorted(broad(tree)) == [5, 6, 8, 12]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {
        canonicalize_name(name): pin for name, pin in (line.split("==") for line in lines if not line.startswith("#"))
    }


def dependencies(*left_out: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [texts for extra, texts in project["optional-dependencies"].items() if extra not in left_out]
    return [Requirement(text) for text in sum(extras, project["dependencies"])]


def test_every_dependency_is_pinned_to_a_version_that_is_allowed():
    for dependency in dependencies():
        pin = pins()[canonicalize_name(dependency.name)]
        assert dependency.specifier.contains(pin), f"constraints.txt has {dependency.name} {pin}"


def test_what_is_installed_is_what_is_pinned():
    for dependency in dependencies("gpu"):  # which is for machines with one
        pin = pins()[canonicalize_name(dependency.name)]
        assert version(dependency.name).split("+")[0] == pin, (
            f"{dependency.name} is not installed as constraints.txt says"
        )


def test_constraints_tie_nobody_to_a_device_a_host_or_a_build():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in lines)
    assert len(pins()) == sum(not line.startswith("#") for line in lines)
