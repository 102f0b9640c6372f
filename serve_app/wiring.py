"""Opening what a gateway replica works with, in the order in which it depends on one another."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import structlog

import policies
from actors.ledger.client import LedgerRecorder
from actors.ledger.keys import public_keys
from actors.ledger.notary import LedgerNotary
from actors.ledger.reader import LedgerReader
from actors.mailbox.client import Mailboxes
from actors.mailbox.mailbox import Terms
from actors.reviews.client import Reviews
from cluster import metrics
from cluster.clock import Clock, SystemClock
from cluster.controls_board import ControlsBoard
from cluster.heartbeat import last_beat
from cluster.identity.oidc import Provider, open_provider
from cluster.identity.verifier import TokenVerifier, open_verifier
from cluster.keyring import load_keyring
from cluster.law import load_constitution
from cluster.logs import configure
from cluster.opa.bundles import load_folder
from cluster.opa.embedded import EmbeddedEngine
from cluster.opa.engine import PolicyEngine
from cluster.opa.rest import RestEngine
from cluster.settings import Settings
from cluster.store.connect import open_bell, open_store
from cluster.store.redis_store import RedisStore
from policies.admission import Limits
from policies.errors import DependencyError
from policies.impact import ImpactTable
from policies.rate import RateTable
from policies.review_law import ReviewLaw
from policies.settlement import SettlementLaw
from serve_app.api.refusals import Refusals
from serve_app.api.services import Check, Services
from serve_app.bus import Bus, Gate, Law
from serve_app.console.sessions import Sessions
from serve_app.desk import Desk
from serve_app.effects import Effects
from serve_app.judges.cache import VerdictCache
from serve_app.judges.policy import PolicyJudge
from serve_app.outside import open_outside
from serve_app.releases import Releases

log = structlog.get_logger(__name__)

POLICY_DIR: Final = Path(policies.__file__).parent / "rego"
SIGN_INS_S: Final = 20.0  # what strangers can make a replica remember: 12 000 in ten minutes
SIGN_INS_BURST: Final = 200
_STORE_WAIT_S: Final = 30.0


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open everything a replica needs, and close it in the reverse order.

    Raises ConfigurationError, BundleError or DependencyError with what is missing: a replica
    that cannot govern does not start.
    """
    configure(settings)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        law = open_law(settings)
        engine = await open_engine(settings)
        stack.push_async_callback(engine.close)
        store = open_store(settings)
        stack.push_async_callback(store.close)
        await _until_served(store)
        services = await _open_rest(settings, clock, stack=stack, parts=(law, engine, store))
        # What lives as long as the replica is not looked through again for garbage, and what a
        # request leaves behind is looked through less often: fewer and shorter pauses.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 25, 50)
        log.info("gateway.opened", revision=engine.revision, engine=engine.name)
        yield services


async def try_law(settings: Settings) -> None:
    """Open the law that replicas will judge under and close it, so that a fault is said at once.

    Raises as `open_services` does.
    """
    open_law(settings)
    engine = await open_engine(settings)
    await engine.close()


def open_law(settings: Settings) -> Law:
    """Return the constitution and what the bus reads out of it."""
    constitution = load_constitution()
    return Law(
        constitution=constitution,
        limits=Limits(ttl_default_s=settings.message_ttl_s),
        impact=ImpactTable.from_mapping(constitution.impact),
        settlement=SettlementLaw.from_mapping(constitution.settlement),
        reviews=ReviewLaw.from_mapping(constitution.reviews),
    )


async def open_engine(settings: Settings) -> PolicyEngine:
    """Return the policy engine that the settings ask for: OPA in process, or an OPA server."""
    if settings.opa_url is None:
        bundle = load_folder(settings.policy_dir or POLICY_DIR)
        return await asyncio.to_thread(EmbeddedEngine, bundle)
    token = settings.opa_token.get_secret_value() if settings.opa_token else None
    return RestEngine(settings.opa_url, token=token, expected_revision=settings.opa_revision)


async def _open_rest(
    settings: Settings,
    clock: Clock,
    *,
    stack: AsyncExitStack,
    parts: tuple[Law, PolicyEngine, RedisStore],
) -> Services:
    law, engine, store = parts
    controls = await stack.enter_async_context(ControlsBoard(store, clock=clock))
    verifier, provider = _open_identity(settings, clock, controls=controls, stack=stack)
    rooms = _open_rooms(settings, clock, stack=stack, parts=(law, store))
    meter = metrics.PrometheusMeter()
    bus = Bus(
        law=law,
        judge=_judge(engine, settings, clock),
        recorder=rooms.recorder,
        courier=rooms.mailboxes,
        meter=meter,
        clock=clock,
        gate=_gate(settings, controls),
    )
    desk = await _open_desk(bus, rooms, stack=stack, parts=(law, controls, clock))
    outside = await stack.enter_async_context(
        open_outside(
            settings, store, desk=desk, controls=controls, register=rooms.recorder, clock=clock
        )
    )
    return Services(
        settings=settings,
        clock=clock,
        law=law,
        bus=bus,
        verifier=verifier,
        controls=controls,
        recorder=rooms.recorder,
        reader=rooms.reader,
        mailboxes=rooms.mailboxes,
        desk=desk,
        authority=rooms.reviews.authority,
        outside=outside,
        sessions=Sessions(store),
        provider=provider,
        attempts=RateTable(rate_s=SIGN_INS_S, burst=SIGN_INS_BURST),
        refusals=_refusals(rooms.recorder, settings, clock),
        meter=meter,
        checks=_checks(store, engine, controls=controls, reader=rooms.reader),
    )


def _open_identity(
    settings: Settings, clock: Clock, *, controls: ControlsBoard, stack: AsyncExitStack
) -> tuple[TokenVerifier, Provider | None]:
    verifier = open_verifier(settings, clock=clock, controls=controls.current)
    stack.push_async_callback(verifier.close)
    provider = open_provider(settings, clock=clock)
    if provider is not None:
        stack.push_async_callback(provider.close)
    return verifier, provider


async def _open_desk(
    bus: Bus, rooms: _Rooms, *, stack: AsyncExitStack, parts: tuple[Law, ControlsBoard, Clock]
) -> Desk:
    law, controls, clock = parts
    desk = Desk(
        rooms.reviews,
        releaser=bus,
        register=rooms.recorder,
        courier=rooms.mailboxes,
        clock=clock,
        law=law.reviews,
        controls=controls.current,
    )
    await stack.enter_async_context(_running(Releases(desk, rooms.reviews)))
    return desk


class _Rooms(NamedTuple):
    recorder: LedgerRecorder
    reader: LedgerReader
    mailboxes: Mailboxes
    reviews: Reviews


def _open_rooms(
    settings: Settings, clock: Clock, *, stack: AsyncExitStack, parts: tuple[Law, RedisStore]
) -> _Rooms:
    law, store = parts
    keyring = load_keyring(settings)
    bell = open_bell(settings)
    stack.push_async_callback(bell.close)
    mailboxes = Mailboxes(store, bell=bell, clock=clock, terms=Terms.of(settings))
    stack.push_async_callback(mailboxes.close)
    reviews = Reviews(store, clock=clock, notary=LedgerNotary(keyring.wal_key), bell=bell)
    stack.push_async_callback(reviews.close)
    reader = LedgerReader(
        settings.data_dir / "ledger",
        origin=settings.ledger_origin,
        publics=public_keys(keyring.ledger_seeds),
        store=store,
        clock=clock,
    )
    stack.push_async_callback(reader.close)
    recorder = LedgerRecorder(
        store,
        keyring,
        origin=settings.ledger_origin,
        clock=clock,
        replay_window_s=settings.replay_window_s,
        archive=reader,
        onward=Effects(mailboxes, reviews, law.reviews),
    )
    stack.push_async_callback(recorder.close)
    return _Rooms(recorder, reader, mailboxes, reviews)


@asynccontextmanager
async def _running(releases: Releases) -> AsyncIterator[None]:
    running = asyncio.create_task(releases.run(), name="releases")
    try:
        yield
    finally:
        releases.stop()
        await running


def _gate(settings: Settings, controls: ControlsBoard) -> Gate:
    rates = RateTable(rate_s=settings.rate_per_agent_s, burst=settings.rate_burst)
    return Gate(controls=controls.current, rates=rates)


def _refusals(recorder: LedgerRecorder, settings: Settings, clock: Clock) -> Refusals:
    return Refusals(
        recorder,
        clock=clock,
        rates=RateTable(rate_s=settings.rate_per_agent_s, burst=settings.rate_burst),
        on_lost=lambda why: metrics.REFUSALS_UNRECORDED.labels(why).inc(),
    )


def _judge(engine: PolicyEngine, settings: Settings, clock: Clock) -> PolicyJudge:
    def on_lookup(found: bool) -> None:  # noqa: FBT001  # the judge's own shape
        (metrics.POLICY_CACHE_HITS if found else metrics.POLICY_CACHE_MISSES).inc()

    return PolicyJudge(
        engine,
        VerdictCache(),
        timeout_s=settings.policy_timeout_ms / 1000,
        clock=clock,
        on_lookup=on_lookup,
        on_evaluated=metrics.POLICY_EVALUATION.observe,
    )


def _checks(
    store: RedisStore,
    engine: PolicyEngine,
    *,
    controls: ControlsBoard,
    reader: LedgerReader,
) -> dict[str, Check]:
    async def check_store() -> str:
        await store.execute("PING")
        return "it answers"

    async def check_controls() -> str:
        controls.current()
        return "the kill switches are fresh"

    async def check_ledger() -> str:
        return await reader.check(store)

    async def check_mailbox() -> str:
        await last_beat(store, "mailbox")
        return "its repairs run"

    async def check_reviews() -> str:
        await last_beat(store, "reviews")
        return "its timers run"

    async def check_herald() -> str:
        await last_beat(store, "herald")
        return "its loops run"

    return {
        "store": check_store,
        "policy": engine.check,
        "controls": check_controls,
        "ledger": check_ledger,
        "mailbox": check_mailbox,
        "reviews": check_reviews,
        "herald": check_herald,
    }


async def _until_served(store: RedisStore) -> None:
    """Wait for the store to answer: at a start its keeper may still be bringing it up."""
    async with asyncio.timeout(_STORE_WAIT_S):
        while True:
            try:
                await store.execute("PING")
            except DependencyError:
                await asyncio.sleep(0.1)
            else:
                return
