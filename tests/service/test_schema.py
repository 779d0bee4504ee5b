"""All that the schema allows, and much that it does not, asked of a running service."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

schemathesis = pytest.importorskip("schemathesis")

PROFILE = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def operations(server):
    """Each path and method of the schema that the service gives of itself."""
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    assert {"GET /metrics", "POST /v1/detect", "POST /v2/models/{name}/infer"} <= {
        operation.label for operation in found
    }
    return found


def ask_all(operations, examples):
    """Ask each operation so often, in valid and in invalid ways; returns the statuses."""
    statuses = set()
    for operation in operations:
        for mode in schemathesis.GenerationMode:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(PROFILE, max_examples=examples)
            def ask(case):
                response = case.call(timeout=30)
                statuses.add(response.status_code)
                # 503 neither: one client alone is never too much.
                assert response.status_code < 500, (case.as_curl_command(), response.text)

            try:
                ask()
            except Unsatisfiable:  # a path that takes nothing cannot be asked wrongly
                assert mode.is_negative
    return statuses


def test_nothing_that_is_asked_breaks_the_service(operations):
    statuses = ask_all(operations, 5)
    assert statuses >= {200, 400, 404}


@pytest.mark.slow
def test_nothing_that_is_asked_for_minutes_breaks_the_service(operations):
    ask_all(operations, 400)
