"""Refusals on record: which ones, how many, and what happens when the ledger is not there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from policies.decision import Receipt
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.principal import Principal
from policies.rate import RateTable
from serve_app.api import refusals as refusals_module
from serve_app.api.refusals import Refusals

from builders import a_principal
from fakes import FakeClock


@dataclass
class Register:
    """Keeps refusals in memory, or does not."""

    down: bool = False
    silent: bool = False
    kept: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    async def refuse(
        self,
        principal: Principal,
        *,
        code: str,
        request_digest: str | None,
        message_id: str | None = None,
    ) -> Receipt:
        if self.silent:
            await asyncio.Event().wait()
        if self.down:
            raise DependencyError("ledger", "it is down")
        self.kept.append((code, request_digest, message_id))
        return Receipt(origin="test", leaf_hash="AAAA", entry_id="1-0")


class Desk:
    """Refusals over a register, with what was lost at hand."""

    def __init__(self, register: Register, *, burst: int = 100) -> None:
        self.lost: list[str] = []
        self.refusals = Refusals(
            register,
            clock=FakeClock(),
            rates=RateTable(rate_s=1.0, burst=burst),
            on_lost=self.lost.append,
        )

    def record(self, error: GovernanceError, *, message_id: str | None = None) -> None:
        principal = a_principal()
        asyncio.run(
            self.refusals.record(
                principal, error, request_digest="sha256:00", message_id=message_id
            )
        )


KILLED = RefusalError("control.killed", "stopped", 403)


def test_a_refusal_that_matters_is_recorded_with_its_code_and_never_with_its_content() -> None:
    register = Register()
    Desk(register).record(KILLED, message_id="m1")
    assert register.kept == [("control.killed", "sha256:00", "m1")]


@pytest.mark.parametrize(
    "error",
    [
        RefusalError("request.invalid", "a slip", 422),
        RefusalError("message.too_large", "a slip", 413),
        RefusalError("auth.token_expired", "a stranger", 401),
        DependencyError("store", "it is down"),
    ],
)
def test_slips_strangers_and_outages_are_not_recorded(error: GovernanceError) -> None:
    register = Register()
    desk = Desk(register)
    desk.record(error)
    assert (register.kept, desk.lost) == ([], [])


def test_a_message_id_that_is_none_of_ours_is_left_out() -> None:
    register = Register()
    Desk(register).record(KILLED, message_id="{another}:key\n")
    assert register.kept == [("control.killed", "sha256:00", None)]


def test_a_ledger_that_is_down_makes_a_refusal_no_worse_and_is_counted() -> None:
    desk = Desk(Register(down=True))
    desk.record(KILLED)
    assert desk.lost == ["ledger"]


def test_a_ledger_that_is_silent_is_not_waited_for_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refusals_module, "_WAIT_MAX_S", 0.01)
    desk = Desk(Register(silent=True))
    desk.record(KILLED)
    assert desk.lost == ["ledger"]


def test_one_agent_cannot_fill_the_ledger_with_refusals() -> None:
    register = Register()
    desk = Desk(register, burst=3)
    for _ in range(5):
        desk.record(KILLED)
    assert len(register.kept) == 3
    assert desk.lost == ["rate", "rate"]
