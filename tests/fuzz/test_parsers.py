"""Whatever is fed to a parser, it answers or raises the error it names, and does not take long about it."""

import contextlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import families, files
from tests.fuzz.mutated import mutated

FAMILIES = {**families.FAMILIES, **files.FAMILIES}
MEDIAN_S, LIMIT_S = 0.05, 1.0


# What a lora's alpha_pattern holds is an expression of whoever made it.
pytestmark = pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning", "ignore:Possible set:FutureWarning")


@pytest.fixture(scope="module")
def folder():
    """One folder for all: a file is written over by the next."""
    path = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    yield path
    shutil.rmtree(path)


def fed(family, data, folder):
    """How long it took, in seconds."""
    began_s = time.perf_counter()
    with contextlib.suppress(*family.allowed):
        family.feed(data, folder)
    return time.perf_counter() - began_s


def check_one(family, data, folder):
    """A second try tells the parser's slowness from the machine's."""
    took_s = fed(family, data, folder)
    assert took_s < LIMIT_S or fed(family, data, folder) < LIMIT_S, (took_s, data[:200])
    return took_s


@pytest.mark.parametrize("name", FAMILIES)
def test_good_input_is_taken(name, folder):
    for data in FAMILIES[name].seeds:
        FAMILIES[name].feed(data, folder)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_input_breaks_it(name, folder):
    family = FAMILIES[name]
    spoilt = st.integers(0, 2**32).map(lambda number: mutated(family.seeds, number))
    free = st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))

    @settings(max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(spoilt, spoilt, free, st.binary(max_size=300)))
    def try_it(data):
        took_s.append(check_one(family, data, folder))

    took_s = []
    try_it()
    assert statistics.median(took_s) < MEDIAN_S


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FAMILIES)
def test_no_input_of_very_many_breaks_it(name, folder):
    family = FAMILIES[name]
    took_s = [check_one(family, mutated(family.seeds, number), folder) for number in range(family.num)]
    assert statistics.median(took_s) < MEDIAN_S
