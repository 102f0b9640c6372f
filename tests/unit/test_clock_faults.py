"""A wall clock that jumps backwards: nothing is lost, nobody is let in twice or shut out."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from token_builders import ISSUER, a_jwks, a_signer

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig, CircuitState
from cluster.clock import new_id
from cluster.identity.jwks import parse_jwks
from cluster.identity.sources import FixedKeys
from cluster.identity.tokens import ClaimRules
from cluster.identity.verifier import TokenVerifier
from cluster.law import load_constitution
from policies.admission import Limits
from policies.controls import Controls
from policies.decision import Effect, Recorded
from policies.errors import RefusalError
from policies.impact import ImpactTable
from policies.rate import RateLimitedError, RateTable
from policies.review_law import ReviewLaw
from policies.settlement import SettlementLaw
from serve_app.bus import Bus, Gate, Law

from builders import NOW, a_message, a_principal
from fakes import FakeClock, FakeCourier, FakeJudge, FakeMeter, FakeRecorder, no_controls

BACK = timedelta(hours=1)


def a_bus(clock: FakeClock, courier: FakeCourier, recorder: FakeRecorder) -> Bus:
    constitution = load_constitution()
    return Bus(
        law=Law(
            constitution=constitution,
            limits=Limits(),
            impact=ImpactTable.from_mapping(constitution.impact),
            settlement=SettlementLaw.from_mapping(constitution.settlement),
            reviews=ReviewLaw.from_mapping(constitution.reviews),
        ),
        judge=FakeJudge(),
        recorder=recorder,
        courier=courier,
        meter=FakeMeter(),
        clock=clock,
        gate=Gate(controls=no_controls, rates=RateTable(rate_s=1000.0, burst=1000)),
    )


def state_of(circuit: Circuit) -> CircuitState:
    return circuit.state


def test_messages_are_governed_on_after_a_jump_and_replays_stay_replays() -> None:
    clock, courier, recorder = FakeClock(NOW), FakeCourier(), FakeRecorder()
    bus = a_bus(clock, courier, recorder)

    async def send(number: int) -> Recorded:
        now = clock.now()
        message = a_message(id=f"m{number}", sent_at=now, expires_at=now + timedelta(seconds=3600))
        return await bus.submit(a_principal(), message)

    async def scenario() -> None:
        before = await send(1)
        clock.time -= BACK
        after = await send(2)
        assert after.decision.effect is Effect.ALLOW
        assert after.decision.decided_at < before.decision.decided_at, "the clock is not mended"
        assert after.decision.decision_id != before.decision.decision_id
        again = await send(1)
        assert again.replayed
        assert again.decision.decision_id == before.decision.decision_id

    asyncio.run(scenario())
    assert len(courier.delivered) == 2


def test_a_message_from_before_the_jump_that_would_outlive_its_bounds_is_refused() -> None:
    clock = FakeClock(NOW)
    bus = a_bus(clock, FakeCourier(), FakeRecorder())
    week = timedelta(days=7)
    message = a_message(sent_at=NOW, expires_at=NOW + week)
    clock.time -= BACK
    with pytest.raises(RefusalError) as caught:
        asyncio.run(bus.submit(a_principal(), message))
    assert caught.value.code == "message.ttl_out_of_range"


def test_no_id_comes_twice_when_a_moment_does() -> None:
    assert len({new_id(NOW) for _ in range(1000)}) == 1000


def test_an_agents_allowance_runs_on_the_stopwatch() -> None:
    rates, clock = RateTable(rate_s=1.0, burst=1), FakeClock(NOW)
    rates.admit("acme", "writer", now_s=clock.monotonic_s())
    clock.time -= BACK
    with pytest.raises(RateLimitedError):
        rates.admit("acme", "writer", now_s=clock.monotonic_s())
    clock.elapsed_s += 1.0
    rates.admit("acme", "writer", now_s=clock.monotonic_s())


def test_a_circuit_is_tried_again_in_time_whatever_the_clock_says() -> None:
    clock = FakeClock(NOW)
    circuit = Circuit("store", CircuitBreakerConfig(fail_max=1, reset_timeout=5), clock=clock)

    def fail() -> None:
        raise OSError

    with pytest.raises(Exception):  # noqa: B017, PT011  # pybreaker's own, or ours
        circuit.call(fail)
    assert state_of(circuit) is CircuitState.OPEN
    clock.time -= BACK
    clock.elapsed_s += 5.0
    circuit.call(lambda: None)
    assert state_of(circuit) is CircuitState.CLOSED


def test_a_token_from_the_future_is_refused_and_one_that_was_proved_stays_proved() -> None:
    signer, clock = a_signer(), FakeClock(NOW)
    source = FixedKeys(parse_jwks(a_jwks(signer.jwk())))
    rules = ClaimRules(issuer=ISSUER, audience="acgs", leeway_s=30)
    verifier = TokenVerifier(rules, source, Controls)
    issued_s = int(NOW.timestamp())
    known, fresh = (signer.token(iat=issued_s, jti=name) for name in ("known", "fresh"))

    async def scenario() -> None:
        proved = await verifier.verify(known, clock.now())
        clock.time -= BACK
        assert await verifier.verify(known, clock.now()) == proved
        with pytest.raises(RefusalError) as caught:
            await verifier.verify(fresh, clock.now())
        assert caught.value.code == "auth.not_yet_valid"
        clock.time += BACK
        await verifier.verify(fresh, clock.now())

    asyncio.run(scenario())
