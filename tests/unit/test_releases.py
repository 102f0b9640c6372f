"""One tenant whose log is halted keeps the approvals of no other waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cluster.errors import StoreUnavailableError
from policies.errors import DependencyError, RefusalError
from policies.review import Review, State
from serve_app.releases import Releases

from builders import a_review


class Shelf:
    """Approved reviews of three tenants, one of each."""

    async def tenants(self) -> list[str]:
        return ["acme", "globex", "initech"]

    async def approved(self, tenant: str, *, older_than_s: float, limit: int) -> list[Review]:
        assert older_than_s > 0
        assert limit > 0
        return [a_review(tenant=tenant, review_id=f"r-{tenant}", state=State.APPROVED)]


class Counter:
    """A desk that lets go, but for a tenant for which it cannot."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.gone: list[str] = []

    async def resume(self, review: Review) -> bool:
        if review.tenant == "acme":
            raise self.error
        self.gone.append(review.tenant)
        return True


def releases(desk: Counter) -> Releases:
    parts: tuple[Any, Any] = (desk, Shelf())
    return Releases(*parts)


@pytest.mark.parametrize(
    "error", [DependencyError("ledger", "a fork"), RefusalError("auth.revoked", "stopped", 401)]
)
def test_what_one_tenant_cannot_let_go_holds_up_no_other(error: Exception) -> None:
    desk = Counter(error)
    assert asyncio.run(releases(desk).once()) == 2
    assert desk.gone == ["globex", "initech"]


def test_a_store_that_is_away_ends_the_pass_and_the_next_one_begins_anew() -> None:
    desk = Counter(StoreUnavailableError("it is away"))
    with pytest.raises(StoreUnavailableError):
        asyncio.run(releases(desk).once())
    assert desk.gone == []
