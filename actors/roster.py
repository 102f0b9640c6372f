"""Who sits where: the only place that names, seats and finds the detached actors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import ray
import structlog
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from actors.herald.actor import HeraldActor
from actors.keeper.actor import KeeperActor
from actors.ledger.actor import LedgerActor
from actors.ledger.notary import LedgerNotary
from actors.mailbox.actor import MailboxActor
from actors.reviews.actor import ReviewsActor
from actors.reviews.reading import review_in
from cluster.logs import configure
from cluster.session import NAMESPACE
from cluster.settings import Settings
from policies.errors import GovernanceError

log = structlog.get_logger(__name__)

KEEPER: Final = "keeper"  # runs the embedded store
LEDGER: Final = "ledger"  # turns the write-ahead stream into the signed tree
MAILBOX: Final = "mailbox"  # repairs deliveries, sweeps leases and expiries
REVIEWS: Final = "reviews"  # opens what was recorded, and keeps the reviews' time
HERALD: Final = "herald"  # tells people and programs outside what happens to reviews

_READY_TIMEOUT_S: Final = 900.0  # a ledger of millions is verified first, and says how far it is
_STOP_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Seat:
    """One detached actor: its name, its class, what a CPU share it asks for, and its `args`.

    They follow the settings. An actor knows no room but its own: what it needs of another comes so.
    """

    name: str
    actor: Any
    num_cpus: float
    args: tuple[object, ...] = ()


def seats(settings: Settings) -> tuple[Seat, ...]:
    """Return the actors in the order in which they depend on one another."""
    keeper = (Seat(KEEPER, KeeperActor, 0.05),) if settings.embedded_store else ()
    return (
        *keeper,
        Seat(LEDGER, LedgerActor, 0.1),
        Seat(MAILBOX, MailboxActor, 0.1),
        Seat(REVIEWS, ReviewsActor, 0.1, (LedgerNotary.of,)),
        Seat(HERALD, HeraldActor, 0.1, (review_in,)),
    )


def seat_all(settings: Settings, *, env: Mapping[str, str]) -> None:
    """Seat every actor that is not seated yet, and wait until each is ready.

    Raises the actor's own GovernanceError when one cannot start, such as the TamperedError of a
    ledger that does not verify.
    """
    for seat in seats(settings):
        handle = _seat(seat, settings, env=env)
        try:
            ray.get(handle.ready.remote(), timeout=_READY_TIMEOUT_S)
        except RayTaskError as error:
            if isinstance(error.cause, GovernanceError):
                raise error.cause from None
            raise


def _seat(seat: Seat, settings: Settings, *, env: Mapping[str, str]) -> Any:
    return (
        ray.remote(_logging(seat.actor))
        .options(
            name=seat.name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=3,
            max_concurrency=16,
            num_cpus=seat.num_cpus,
            runtime_env={"env_vars": dict(env)},
        )
        .remote(settings, *seat.args)
    )


def _logging(actor: Any) -> Any:
    """Return the class with a log in its process like everybody's: no secrets, no local variables.

    Here and not in each actor: a test that makes one keeps its own log.
    """

    class Logging(actor):  # type: ignore[misc]  # whichever is seated
        def __init__(self, settings: Settings, *args: object) -> None:
            configure(settings)
            super().__init__(settings, *args)

    Logging.__name__ = actor.__name__  # as which its process is known
    Logging.__qualname__ = actor.__qualname__
    return Logging


def find(name: str) -> Any:
    """Return the actor of this name; raises ValueError when it is not seated."""
    return ray.get_actor(name, namespace=NAMESPACE)


def dismiss_all(settings: Settings) -> None:
    """Stop every actor in the reverse order: what others depend on leaves last.

    One that is dead, restarting or stuck is ended all the same: its truth is in the store.
    """
    for seat in reversed(seats(settings)):
        try:
            handle = find(seat.name)
        except ValueError:
            continue
        try:
            ray.get(handle.stop.remote(), timeout=_STOP_TIMEOUT_S)
        except (RayActorError, RayTaskError, GetTimeoutError) as error:
            log.warning("actor.not_stopped", actor=seat.name, error=type(error).__name__)
        ray.kill(handle, no_restart=True)
