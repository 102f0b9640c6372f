"""The API keeps the contract that `/openapi.json` writes down: schemathesis asks, it answers.

Requests are made from the contract itself, right ones and wrong ones, with tokens of every kind
of caller. Whatever comes back is documented: its status, its content type, its headers, its shape.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from running import RunningBus, a_body
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cluster.constants import CONSTITUTIONAL_HASH

pytestmark = pytest.mark.timeout(300)  # the first test also starts the bus

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# What each kind of caller must get through to, or its token proves nothing here.
OPEN_TO: Final = {
    "agent": {"sendMessage", "makeDecision", "sendMessages", "listDecisions", "receive"},
    "tenant_admin": {"registerAgent", "listAgents", "listDecisions"},
    "auditor": {"listDecisions", "rootCheckpoint", "listReviews", "getReview", "listPrecedents"},
    "reviewer": {
        "listDecisions",
        "listReviews",
        "getReview",
        "getHeldMessage",
        "listDelegations",
        "getOnCall",
        "listCritics",
        "listPrecedents",
        "approveSameReviews",
    },
    "operator": {"kill", "release"},
    "platform_admin": {"kill", "registerAgent"},
}
EXAMPLES: Final = 10
# They stream for minutes; test_mailbox_http.py and test_reviews_http.py listen to them.
ENDLESS: Final = {"streamMailbox", "streamReviews"}
MESSAGES: Final = {"sendMessage", "makeDecision"}
ORDERS: Final = {"kill", "release", "revoke"}


@pytest.fixture(scope="module")
def contract(bus: RunningBus) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{bus.url}/openapi.json")


def operations(contract: BaseSchema) -> Iterator[tuple[str, APIOperation[Any, Any, Any, Any]]]:
    for found in contract.get_all_operations():
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if name not in ENDLESS:
            yield name, operation


def tamed(name: str, case: Case, *, tenant: str, sound: bool, held: str) -> Case:
    """Return the case without what would harm the bus that other tests share, or take minutes.

    A sound question about a review is about one that there is.
    """
    query, body = case.query, case.body
    if name == "receive" and _is_within_a_minute(query.get("wait_s")):
        query["wait_s"] = 0
    if sound and "review_id" in case.path_parameters:
        case.path_parameters["review_id"] = held
    if name in ORDERS and isinstance(body, dict):
        # A kill without a tenant stops every test; a revocation could meet another's agent.
        for part in (body, body.get("scope")):
            if isinstance(part, dict) and ("tenant" in part or part is not body):
                part["tenant"] = tenant
    if name in MESSAGES and sound and isinstance(body, dict):
        body["constitutional_hash"] = CONSTITUTIONAL_HASH
        body["to_agent"] = "tools"
        for field in ("from_agent", "tenant_id", "expires_at"):
            body.pop(field, None)
    return case


@pytest.mark.timeout(170)
@pytest.mark.parametrize("role", sorted(OPEN_TO))
def test_every_answer_is_one_that_the_contract_documents(
    bus: RunningBus, contract: BaseSchema, role: str
) -> None:
    tenant = f"f-{uuid4().hex[:16]}"
    bus.register("tools", "caller", tenant=tenant)
    headers = {"Authorization": f"Bearer {bus.token('caller', role, tenant=tenant)}"}
    held = held_for_people(bus, tenant)
    seen: dict[str, set[int]] = {}
    for name, operation in operations(contract):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not _takes_anything(operation):
                continue
            answers = seen.setdefault(name, set())
            ask(name, operation, mode, headers=headers, tenant=tenant, held=held, seen=answers)
    assert len(seen) > 30
    for name in OPEN_TO[role]:
        assert seen[name] & {200, 201, 204}, f"{name} only ever answered {seen[name]}"


def held_for_people(bus: RunningBus, tenant: str) -> str:
    """Send what is held, and return the id of its review."""
    with bus.client("planner", tenant=tenant) as planner:
        answer = planner.post("/v1/messages", json=a_body(priority="critical"))
    assert answer.json()["effect"] == "review", answer.text
    review_id: str = answer.json()["review"]["review_id"]
    return review_id


def ask(
    name: str,
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    *,
    headers: dict[str, str],
    tenant: str,
    held: str,
    seen: set[int],
) -> None:
    sound = mode is GenerationMode.POSITIVE

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def every_case(case: Case) -> None:
        case = tamed(name, case, tenant=tenant, sound=sound, held=held)
        answer = case.call(headers=headers, timeout=60)
        case.validate_response(answer, checks=CHECKS)
        seen.add(answer.status_code)

    every_case()


def _is_within_a_minute(wait_s: object) -> bool:
    try:
        return 0 <= float(str(wait_s)) <= 60
    except ValueError:
        return False


def _takes_anything(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    return bool(list(operation.iter_parameters()) or operation.body)


# -- the document itself --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document(bus: RunningBus) -> dict[str, Any]:
    answer = httpx.get(f"{bus.url}/openapi.json", timeout=30)
    assert answer.status_code == httpx.codes.OK
    found: dict[str, Any] = answer.json()
    return found


def described(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named <= document["components"]["schemas"].keys()


def test_operations_have_names_of_their_own_and_say_what_they_do(document: dict[str, Any]) -> None:
    found = [operation for _, _, operation in described(document)]
    names = [operation["operationId"] for operation in found]
    assert len(set(names)) == len(names) > 30
    assert all(operation["description"].strip() for operation in found)


def test_the_contract_says_which_doors_need_a_token_and_the_doors_agree(
    bus: RunningBus, document: dict[str, Any]
) -> None:
    with httpx.Client(base_url=bus.url, timeout=30) as stranger:
        for method, path, operation in described(document):
            filled = re.sub(r"\{(number)\}", "0", path)
            filled = re.sub(r"\{path\}", "entries/000.p/1", filled)
            filled = re.sub(r"\{[a-z_]+\}", "some-name", filled)
            body = {"json": a_body()} if "requestBody" in operation else {}
            answer = stranger.request(method, filled, params={"first": 1, "second": 1}, **body)
            locked = {"bearer": []} in operation.get("security", [])
            assert (answer.status_code == httpx.codes.UNAUTHORIZED) == locked, (method, path)


def test_a_request_body_is_described_wherever_one_is_read(document: dict[str, Any]) -> None:
    reading = {
        operation["operationId"]
        for _, _, operation in described(document)
        if "requestBody" in operation
    }
    assert reading == {
        "sendMessage",
        "makeDecision",
        "sendMessages",
        "registerAgent",
        "nack",
        "extend",
        "approveReview",
        "rejectReview",
        "abstainFromReview",
        "rejectSameReviews",
        "approveSameReviews",
        "seatCritic",
        "planShift",
        "opineOnReview",
        "delegate",
        "breakGlass",
        "escalateReview",
        "cancelReview",
        "consumeReview",
        "kill",
        "release",
        "revoke",
        "slackCallback",
    }


def test_the_page_for_people_is_there(bus: RunningBus) -> None:
    page = httpx.get(f"{bus.url}/docs", timeout=30)
    assert page.status_code == httpx.codes.OK
    assert page.headers["content-type"].startswith("text/html")
