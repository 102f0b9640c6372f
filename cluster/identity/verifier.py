"""From a token to a principal: proved once, remembered until it ends, revocable at any moment."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

import jwt

from cluster.clock import Clock
from cluster.errors import ConfigurationError
from cluster.identity.devkeys import dev_key_set, may_mint
from cluster.identity.jwks import ALGORITHMS, KeySet, VerifyingKey
from cluster.identity.sources import FileKeys, FixedKeys, KeySource
from cluster.identity.tokens import (
    TOKEN_BYTES_MAX,
    ClaimRules,
    TokenHeader,
    read_header,
    read_principal,
    refused,
)
from cluster.identity.url_keys import UrlKeys
from cluster.settings import Settings
from policies.controls import Controls
from policies.principal import Principal

REMEMBERED_MAX: Final = 8192  # about 1 KiB each

_JWS: Final = jwt.PyJWS(algorithms=list(ALGORITHMS))


@dataclass(frozen=True, slots=True)
class Proof:
    """A principal that a token proved, under the keys that were in force then."""

    principal: Principal
    keys: KeySet


class TokenVerifier:
    """Says who sent a token.

    `controls` returns the switches in force and raises DependencyError when nobody knows them.
    Use it in one event loop.
    """

    def __init__(
        self,
        rules: ClaimRules,
        source: KeySource,
        controls: Callable[[], Controls],
        *,
        remembered_max: int = REMEMBERED_MAX,
    ) -> None:
        self._rules = rules
        self._source = source
        self._controls = controls
        self._remembered_max = remembered_max
        self._proofs: OrderedDict[bytes, Proof] = OrderedDict()

    async def verify(self, token: str, now: datetime) -> Principal:
        """Return the principal that the token proves now; waits only when keys must be fetched.

        Raises RefusalError (401, `auth.*`) for a token that proves nothing, DependencyError when
        that cannot be known.
        """
        return self.recall(token, now) or await self._prove(token, now)

    def recall(self, token: str, now: datetime) -> Principal | None:
        """Return the principal of a token that was verified before, without waiting.

        None means that `verify` has to look. Raises RefusalError for one that was revoked since.
        """
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            return None
        digest = sha256(token.encode()).digest()
        proof = self._proofs.get(digest)
        if proof is None:
            return None
        # Other keys may have come because these were lost to somebody.
        if proof.keys is not self._source.current():
            return None
        if now.timestamp() >= proof.principal.expires_at_s:
            del self._proofs[digest]
            return None
        self._require_unrevoked(proof.principal)
        self._proofs.move_to_end(digest)
        return proof.principal

    async def close(self) -> None:
        """Let go of the source of the keys."""
        await self._source.close()

    async def _prove(self, token: str, now: datetime) -> Principal:
        header = read_header(token)
        key, keys = await find_key(self._source, header)
        payload = signed_payload(token, key)
        principal = read_principal(
            payload, self._rules, now_s=now.timestamp(), fallback_id=_fallback_id(token)
        )
        self._require_unrevoked(principal)
        self._remember(token, Proof(principal, keys))
        return principal

    def _require_unrevoked(self, principal: Principal) -> None:
        # Not its kills: an operator of a stopped tenant must still prove who releases it.
        refusal = self._controls().revocation(principal)
        if refusal is not None:
            raise refusal

    def _remember(self, token: str, proof: Proof) -> None:
        self._proofs[sha256(token.encode()).digest()] = proof
        while len(self._proofs) > self._remembered_max:
            self._proofs.popitem(last=False)


def open_verifier(
    settings: Settings, *, clock: Clock, controls: Callable[[], Controls]
) -> TokenVerifier:
    """Return the verifier that the settings ask for; nothing is fetched yet."""
    rules = ClaimRules(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_s=settings.jwt_leeway_s,
    )
    return TokenVerifier(rules, _source(settings, clock), controls)


def _source(settings: Settings, clock: Clock) -> KeySource:
    if settings.jwks_url is not None:
        return UrlKeys(settings.jwks_url, clock=clock)
    if settings.jwks_file is not None:
        return FileKeys(settings.jwks_file, clock=clock)
    if may_mint(settings):
        return FixedKeys(dev_key_set(settings))
    raise ConfigurationError("set ACGS_JWKS_URL or ACGS_JWKS_FILE: nobody's tokens are trusted yet")


async def find_key(source: KeySource, header: TokenHeader) -> tuple[VerifyingKey, KeySet]:
    """Return the key that a token names, and the set in which it stands.

    Raises RefusalError (401) for an unknown one, DependencyError when that cannot be known.
    """
    keys = source.current() or await source.keys()
    key = keys.find(header.kid, header.algorithm)
    if key is None and header.kid is not None:
        keys = await source.newer(keys)
        key = keys.find(header.kid, header.algorithm)
    if key is None:
        raise refused("unknown_key", "this token is signed with a key that we do not know")
    if key.algorithm != header.algorithm:
        raise refused("algorithm_refused", "this token's key signs with another algorithm")
    return key, keys


def signed_payload(token: str, key: VerifyingKey) -> bytes:
    """Return what the token says, if this key signed it. Raises RefusalError (401)."""
    try:
        decoded = _JWS.decode_complete(token, key.jwk, algorithms=[key.algorithm])
    except jwt.InvalidSignatureError:
        raise refused("bad_signature", "the signature of this token does not hold") from None
    except jwt.PyJWTError:
        raise refused("malformed", "this is not a sound JWT") from None
    payload: bytes = decoded["payload"]
    return payload


def _fallback_id(token: str) -> str:
    # Over what is signed: the signature itself can be rewritten by anybody (ES256: s to n - s),
    # and a revoked token would come back under another id.
    return "sha256:" + sha256(token.rpartition(".")[0].encode()).hexdigest()
