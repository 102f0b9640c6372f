"""Small bundles for tests: each is one policy with the entrypoint of the real one."""

from __future__ import annotations

from typing import Any, Final

import orjson

from cluster.opa.engine import Bundle

HEAD: Final = "package acgs.governance\nimport rego.v1\n"
BUDGET_S: Final = 5.0  # for evaluations that are not about time


def a_bundle(rules: str = "decision := input.x", **data: Any) -> Bundle:
    """A bundle with these rules; keywords become `data.cfg`."""
    files: dict[str, bytes | str] = {"acgs/governance.rego": HEAD + rules + "\n"}
    if data:
        files["cfg/data.json"] = orjson.dumps(data)
    return Bundle.of(files)


ALLOWING: Final = a_bundle('decision := {"allow": true, "verdicts": [], "obligations": []}')

# Does not end within any deadline of a test, and ends by itself some seconds later.
RUNAWAY: Final = a_bundle(
    "default decision := false\n"
    "decision if {\n"
    "  some a in numbers.range(1, input.n)\n"
    "  some b in numbers.range(1, input.n)\n"
    "  a + b == -1\n"
    "}"
)

DIVIDING: Final = a_bundle('decision := {"quotient": 1 / input.x}')
