"""How much work a decision is, counted in steps of OPA: unlike time, the same on every machine.

The milliseconds are measured by tests/bench/bench_policy.
"""

from __future__ import annotations

from typing import Any

import pytest
from lawbook import books
from policy_inputs import asked, calls, finding, says

from cluster.opa.engine import ENTRYPOINT
from policies.message import MessageType

STEPS_MAX = {
    "an ordinary call": (asked(), 900),
    "ordinary words": (says(MessageType.EVENT), 650),
    "the long way": (asked({"principal.roles": ["agent", "executive"]}), 2200),
    "a finding": (asked({"findings": [finding("pii", "email", "/args/body")]}), 2500),
    "an unknown tool": (calls("calculate_area", {"base": 10}), 2200),
}


def _steps(document: Any) -> int:
    books().eval_document(ENTRYPOINT, document, trace=True)
    return len(books().last_trace)


@pytest.mark.parametrize("name", sorted(STEPS_MAX))
def test_a_decision_takes_no_more_steps_than_it_did(name: str) -> None:
    document, steps_max = STEPS_MAX[name]
    assert _steps(document) <= steps_max


def test_a_longer_table_takes_no_more_steps() -> None:
    """Tools are looked up, not searched: the first and the last of the table cost the same."""
    first = _steps(calls("say", {}))
    last = _steps(calls("read", {}))
    assert first == last
