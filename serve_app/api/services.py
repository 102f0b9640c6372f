"""What a gateway replica holds: everything the routes need, made once in wiring.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from actors.ledger.client import LedgerRecorder
from actors.ledger.reader import LedgerReader
from actors.mailbox.client import Mailboxes
from actors.reviews.authority import Authority
from cluster.clock import Clock
from cluster.controls_board import ControlsBoard
from cluster.identity.oidc import Provider
from cluster.identity.verifier import TokenVerifier
from cluster.settings import Settings
from policies.constitution import Constitution
from policies.rate import RateTable
from serve_app.api.refusals import Refusals
from serve_app.bus import Bus, Law
from serve_app.console.sessions import Sessions
from serve_app.desk import Desk
from serve_app.outside import Outside
from serve_app.ports import Meter

Check = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The open connections and loaded law of one replica.

    `checks` are what readiness means: each returns a sentence, or raises with what is wrong.
    `provider` is where people sign in, if anywhere; `attempts` bounds how often strangers try.
    """

    settings: Settings
    clock: Clock
    law: Law
    bus: Bus
    verifier: TokenVerifier
    controls: ControlsBoard
    recorder: LedgerRecorder
    reader: LedgerReader
    mailboxes: Mailboxes
    desk: Desk
    authority: Authority
    outside: Outside
    sessions: Sessions
    provider: Provider | None
    attempts: RateTable
    refusals: Refusals
    meter: Meter
    checks: Mapping[str, Check]

    @property
    def constitution(self) -> Constitution:
        """The constitution that this replica judges under."""
        return self.law.constitution
