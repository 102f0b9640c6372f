"""One bus for all tests that only talk to it; a test that breaks things starts its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running import RunningBus, started


@pytest.fixture(scope="session")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBus]:
    with started(tmp_path_factory.mktemp("bus")) as running:
        running.register("tools", "planner", "mailer")
        yield running
