"""docs/control.md tells of every route with its role, of every code and of every metric it names."""

import re
from pathlib import Path

from tests.support.operators import operated
from tests.test_top import names
from vtuber_brain.bus import control
from vtuber_brain.control import models

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "control.md").read_text()


async def test_every_route_stands_there_with_its_role_and_no_other_does():
    async with operated() as one:
        _, openapi = await one.call("GET", "/openapi.json", None)
    served = {
        (f"{method.upper()} {path}", operation.get("x-role") or "")
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    }
    told = {(route, role.strip("` ")) for route, role in re.findall(r"(?m)^\| `([A-Z]+ /[^`]*)` \|([^|]*)\|", PAGE)}
    assert told == served


def test_every_code_that_is_given_stands_there():
    source = "".join(path.read_text() for path in sorted((ROOT / "vtuber_brain" / "control").glob("*.py")))
    given = set(re.findall(r'Refusal\(\s*\d+, "(\w+)"', source)) | set(re.findall(r'_stranger\("(\w+)"', source))
    assert len(given) > 8
    assert all(f"`{code}`" in PAGE for code in given | {"busy", "timeout", "unavailable", "failed", "no_transcripts"})


def test_every_metric_it_names_is_measured():
    assert set(re.findall(r"`(vtb_\w+)", PAGE)) <= names() | {f"{name}_total" for name in names()}


def test_names_are_taken_as_the_bus_takes_them():
    """The API's own patterns are no wider than those of the commands behind it."""
    name = control.UsePersona.model_fields["name"].metadata
    ours = models.RoleBody.model_fields["name"].metadata
    assert [str(one) for one in name] == [str(one) for one in ours]
