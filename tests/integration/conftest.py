"""One bus for all tests that only talk to it; a test that breaks things starts its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from uuid import uuid4

import pytest
from integration.doorstep import Tenant
from running import RunningBus, started


@pytest.fixture(scope="session")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBus]:
    folder = tmp_path_factory.mktemp("bus")
    # A busy machine must not turn what is allowed into a denial for slowness.
    with started(folder, ACGS_POLICY_TIMEOUT_MS="5000") as running:
        running.register("tools", "planner", "mailer")
        yield running


@pytest.fixture
def tenant(bus: RunningBus) -> Iterator[Tenant]:
    """A tenant that no other test uses, with `tools` and `marker` registered."""
    name = f"t-{uuid4().hex[:16]}"
    bus.register("tools", "marker", tenant=name)
    with contextlib.ExitStack() as clients:
        yield Tenant(bus, name, clients)
