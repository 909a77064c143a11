"""Whatever the document of the API allows, and much that it does not, is answered as the document says.

STROWGER_TEST_API_EXAMPLES: how many requests each route is sent; more than the default is for nights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from harness.api import Api, api, document
from harness.node import TRUNK, Node
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from model.policy import Route
from state import audit
from state.tokens import Role

DEFAULT = 6
EXAMPLES = int(os.environ.get("STROWGER_TEST_API_EXAMPLES", DEFAULT))
SEED = 20261122
CHECKS = (
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
)  # fmt: skip
SLOW = ["node.reload"]
"Starts an interpreter each time; tried elsewhere."

MAYBE_NOTHING = ("voicemail.retry",)
"Where nothing waits, nothing is changed."
seen: set[str] = set()
"Entries of the audit."


def without_security(document: dict[str, Any]) -> dict[str, Any]:
    """Requests that bear no token say nothing here: tests/integration/test_api.py has those."""
    paths = {
        path: {method: {**operation, "security": []} for method, operation in item.items()}
        for path, item in document["paths"].items()
    }
    return {**document, "paths": paths}


schema = schemathesis.openapi.from_dict(without_security(document()))
# Each route's boundaries one by one are many hundreds.
schema.config.phases.coverage.enabled = EXAMPLES > DEFAULT


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    node = Node.create(tmp_path_factory.mktemp("node"), workers=1)
    try:
        node.stack.start()
        node.apply([Route("all", ("",), ())], trunks=[TRUNK])
        with api(node.stack.settings) as it:
            yield it
    finally:
        node.close()


@schema.exclude(operation_id=SLOW).parametrize()
@hypothesis.seed(SEED)
@hypothesis.settings(
    max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck),
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)  # fmt: skip
@pytest.mark.timeout(600)
def test_a_route_answers_as_the_document_says(case: schemathesis.Case, served: Api) -> None:
    headers = {"Authorization": f"Bearer {served.tokens[Role.ADMIN]}"}
    response = case.call(base_url=str(served.client.base_url), headers=headers)
    assert response.status_code != 401, response.content
    case.validate_response(response, checks=CHECKS)
    operation = case.operation.definition.raw
    changes = case.method != "GET" and operation["x-role"] != Role.READ
    if response.status_code < 400 and changes and operation["operationId"] not in MAYBE_NOTHING:
        last = audit.read(served.store, limit=1)
        assert last, "a change without its entry in the audit"
        assert last[0].id not in seen, "a change without its entry in the audit"
        assert last[0].who.startswith("token:"), last
        seen.add(last[0].id)
