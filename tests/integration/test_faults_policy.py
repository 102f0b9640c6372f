"""A policy at fault, through the whole bus: a recorded denial with a code of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.refusing import refused_start
from running import ROOT, RunningBus, a_body, started

from serve_app.cli.exits import Exit

BUNDLES = ROOT / "tests" / "data" / "bundles"
MESSAGES_PER_FAULT = 2


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBus]:
    folder = tmp_path_factory.mktemp("faulty")
    # Long enough for a busy machine, short enough for what does not end.
    with started(
        folder, ACGS_POLICY_DIR=str(BUNDLES / "faulty"), ACGS_POLICY_TIMEOUT_MS="1000"
    ) as running:
        running.register("planner", "tools")
        yield running


def decided(bus: RunningBus, fault: str, **changes: Any) -> dict[str, Any]:
    """Send a message that meets the fault; return the answer, which is a 200."""
    content = {"action": "fault", "tool": f"fault.{fault}", "args": {}}
    with bus.client("planner") as http:
        answer = http.post("/v1/messages", json=a_body(content=content, **changes))
    assert answer.status_code == 200, answer.text
    decision: dict[str, Any] = answer.json()
    return decision


@pytest.mark.timeout(300)  # the first one starts the bus
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("undefined", "policy.undefined"),
        ("division", "policy.error"),
        ("no_object", "policy.malformed"),
        ("no_allow", "policy.missing_field"),
        ("contradiction", "policy.contradiction"),
        ("huge", "policy.malformed"),
        ("endless", "policy.timeout"),
    ],
)
def test_a_fault_in_the_policy_is_a_recorded_denial_with_its_own_code(
    faulty: RunningBus, fault: str, code: str
) -> None:
    for _ in range(MESSAGES_PER_FAULT):
        decision = decided(faulty, fault)
        assert decision["effect"] == "deny"
        assert [reason["code"] for reason in decision["reasons"]] == [code]
        assert decision["reasons"][0]["remedy"]
        assert decision["receipt"]["entry_id"]
    with faulty.client("auditor", "auditor") as auditor:
        again = auditor.get(f"/v1/decisions/{decision['decision_id']}").json()
    assert [reason["code"] for reason in again["reasons"]] == [code]


@pytest.mark.timeout(120)
def test_a_policy_that_hangs_costs_its_own_message_and_no_other(faulty: RunningBus) -> None:
    decided(faulty, "endless")
    began_s = time.monotonic()
    assert decided(faulty, "none")["effect"] == "allow"
    assert time.monotonic() - began_s < 5
    with faulty.client("tools") as http:
        received = http.get("/v1/mailbox", params={"max": 100, "wait_s": 5}).json()["messages"]
    assert {each["message"]["content"]["tool"] for each in received} == {"fault.none"}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        ("forbidden", "acgs/governance.rego: http.send is not allowed here"),
        ("silent", "the bundle defines no data.acgs.governance.decision"),
        ("broken", "rego_parse_error"),
        ("missing", "there is no such folder of policies"),
    ],
)
def test_a_bundle_that_may_not_run_is_refused_before_anything_starts(
    tmp_path: Path, bundle: str, said: str
) -> None:
    status, words = refused_start(tmp_path, ACGS_POLICY_DIR=str(BUNDLES / bundle))
    assert status == Exit.USAGE, words
    assert said in words
    assert "Traceback" not in words
    assert "starting Ray" not in words
