"""What a token costs on the road. Prints the distribution; `pytest -s tests/bench` shows it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from hashlib import sha256

import pytest
from token_builders import ISSUER, a_jwks, a_signer

from cluster.identity.jwks import parse_jwks
from cluster.identity.sources import FixedKeys
from cluster.identity.tokens import ClaimRules
from cluster.identity.verifier import TokenVerifier
from policies.controls import Controls, Kill, KillScope

from builders import NOW, a_principal

RECALL_US_MAX = 10.0
BATCHES, CALLS = 50, 1_000


def _show(name: str, times_us: list[float]) -> None:
    cuts = statistics.quantiles(times_us, n=100)
    print(
        f"\n{name}: p50 {cuts[49]:.2f} us, p95 {cuts[94]:.2f} us, p99 {cuts[98]:.2f} us, "
        f"min {min(times_us):.2f} us, {len(times_us)} samples"
    )


def _batches_us(call: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(BATCHES):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        times.append((time.perf_counter() - started) / CALLS * 1e6)
    return times


def _controls() -> Controls:
    controls = Controls()
    for n in range(1_000):
        controls = controls.with_revoked_token(f"other-{n}", 2e9)
    for n in range(100):
        scope = KillScope(tenant=f"tenant-{n}")
        controls = controls.with_kill(Kill(scope=scope, reason="r", by="b", at=NOW))
    return controls


def _verifier() -> TokenVerifier:
    jwks = a_jwks(*(a_signer(name, kid=name).jwk() for name in ("EdDSA", "ES256", "RS256")))
    rules = ClaimRules(issuer=ISSUER, audience="acgs", leeway_s=30)
    controls = _controls()
    return TokenVerifier(rules, FixedKeys(parse_jwks(jwks)), lambda: controls)


def test_a_verified_token_is_recalled_in_microseconds() -> None:
    verifier, token = _verifier(), a_signer("EdDSA", kid="EdDSA").token()
    asyncio.run(verifier.verify(token, NOW))
    times = _batches_us(lambda: verifier.recall(token, NOW))
    _show(f"recall, {len(token)} bytes", times)
    assert min(times) < RECALL_US_MAX


def test_the_board_is_asked_in_microseconds() -> None:
    controls, principal = _controls(), a_principal()
    times = _batches_us(lambda: controls.refusal(principal, "email.send"))
    _show("refusal, 1000 revoked tokens and 100 kills", times)
    assert min(times) < RECALL_US_MAX


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_new_token_is_verified_once(algorithm: str) -> None:
    verifier = _verifier()
    tokens = [a_signer(algorithm, kid=algorithm).token(jti=f"t{n}") for n in range(300)]

    async def run() -> list[float]:
        times = []
        for token in tokens:
            started = time.perf_counter()
            await verifier.verify(token, NOW)
            times.append((time.perf_counter() - started) * 1e6)
        return times

    times = asyncio.run(run())
    _show(f"verify a new {algorithm} token", times)
    assert {sha256(token.encode()).digest() for token in tokens} == set(verifier._proofs)
