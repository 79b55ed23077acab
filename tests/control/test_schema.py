"""The API against its own OpenAPI: whatever is sent, no crash, and no answer that is not described there."""

import asyncio
import contextlib

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.operators import TOKENS, operated

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
EXPECTED = {503, 504}
"""These say that something is not at present; they are no crash."""


def besiege(url, num_examples):
    """Send whatever the description allows, and what it does not; the number of operations."""
    api = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in api.get_all_operations()]
    operations = [one for one in operations if one.path != "/v1/events"]  # it never ends
    for operation in operations:
        send(operation, GenerationMode.POSITIVE, num_examples)
        with contextlib.suppress(Unsatisfiable):  # what takes nothing cannot be given anything wrong
            send(operation, GenerationMode.NEGATIVE, num_examples)
    return len(operations)


def send(operation, mode, num_examples):
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=num_examples,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case):
        answer = case.call(headers={"Authorization": f"Bearer {TOKENS['owner']}"})
        checks = [check for check in CHECKS if check is not not_a_server_error or answer.status_code not in EXPECTED]
        case.validate_response(answer, checks=checks, excluded_checks=[ignored_auth])

    one()


async def survives(num_examples):
    async with operated() as one:
        num_operations = await asyncio.to_thread(besiege, one.url, num_examples)
        assert num_operations >= 25
        assert (await one.call("GET", "/healthz", None))[0] == 200


@pytest.mark.filterwarnings("ignore")
async def test_nothing_that_is_sent_breaks_it_or_gets_an_answer_that_is_not_described():
    await survives(4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
async def test_nor_does_anything_of_very_much():
    await survives(200)
