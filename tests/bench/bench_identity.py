"""What a token costs on the road."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from token_builders import ISSUER, a_jwks, a_signer

from cluster.identity.jwks import parse_jwks
from cluster.identity.sources import FixedKeys
from cluster.identity.tokens import ClaimRules
from cluster.identity.verifier import TokenVerifier
from policies.controls import Controls, Kill, KillScope

from builders import NOW, a_principal

BATCHES, CALLS = 50, 1_000


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


def recall() -> list[float]:
    """Microseconds to recall a token that was verified before, with a full control board."""
    verifier, token = _verifier(), a_signer("EdDSA", kid="EdDSA").token()
    asyncio.run(verifier.verify(token, NOW))
    return _batches_us(lambda: verifier.recall(token, NOW))


def board() -> list[float]:
    """Microseconds to ask the board: 1 000 revoked tokens, 100 kills."""
    controls, principal = _controls(), a_principal()
    return _batches_us(lambda: controls.refusal(principal, "email.send"))


def cold(algorithm: str) -> list[float]:
    """Microseconds to verify a token that was never seen: EdDSA, ES256 or RS256."""
    verifier = _verifier()
    tokens = [a_signer(algorithm, kid=algorithm).token(jti=f"t{n}") for n in range(300)]

    async def run() -> list[float]:
        times = []
        for token in tokens:
            started = time.perf_counter()
            await verifier.verify(token, NOW)
            times.append((time.perf_counter() - started) * 1e6)
        return times

    return asyncio.run(run())


def measure() -> dict[str, list[float]]:
    """Microseconds of each of these, by name."""
    return {
        "recall a verified token": recall(),
        "ask the control board": board(),
        **{f"verify a new {name} token": cold(name) for name in ("EdDSA", "ES256", "RS256")},
    }
