"""A set of public keys (RFC 7517), read so that only a sound public signing key is ever trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from policies.errors import GovernanceError
from policies.strict_json import read_object

ALGORITHMS: Final = ("EdDSA", "ES256", "RS256")
DOCUMENT_BYTES_MAX: Final = 256 * 1024
KEYS_MAX: Final = 64
KID_MAX: Final = 256
RSA_BITS: Final = (2048, 8192)

# For each kind of key: its only algorithm, its curve, and the members that make the public key.
_KINDS: Final[Mapping[str, tuple[str, str | None, tuple[str, ...]]]] = {
    "OKP": ("EdDSA", "Ed25519", ("x",)),
    "EC": ("ES256", "P-256", ("x", "y")),
    "RSA": ("RS256", None, ("n", "e")),
}
# The points of small order on Ed25519, by their y. Under such a "key", of zeros for instance, there
# is a signature that holds for every message. OpenSSL loads and verifies with them all the same.
_P: Final = 2**255 - 19
_Y8: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_WEAK_Y: Final = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class UnusableKeysError(GovernanceError):
    """This document gives us no key that we could trust."""

    code = "jwks.unusable"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key and the one algorithm that it may be used with."""

    kid: str | None
    algorithm: str
    jwk: jwt.PyJWK = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """The keys of one document; `ignored` says which others stood there and why not.

    Compared by identity: a set that was read again is another one.
    """

    keys: tuple[VerifyingKey, ...]
    ignored: tuple[str, ...] = ()

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """Return the key of this id; without an id, the only one that the algorithm fits."""
        if kid is None:
            fitting = [key for key in self.keys if key.algorithm == algorithm]
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in self.keys if key.kid == kid), None)


def parse_jwks(document: bytes) -> KeySet:
    """Return the usable keys. Raises UnusableKeysError when there is none, or it is no JWKS.

    A key that we must not use is left out alone: it would be worse to let one key of a provider,
    meant for something else, take its good ones away. Symmetric and private ones are such keys:
    whoever can read the document could sign with them.
    """
    keys: list[VerifyingKey] = []
    ignored: list[str] = []
    for position, jwk in enumerate(_members(document)):
        try:
            keys.append(_verifying_key(jwk))
        except (TypeError, ValueError) as error:
            ignored.append(f"key {position}: {error}")
    kids = [key.kid for key in keys if key.kid is not None]
    twins = {kid for kid in kids if kids.count(kid) > 1}
    if twins:
        # Which of them signed would be a guess.
        keys = [key for key in keys if key.kid not in twins]
        ignored.append(f"{len(twins)} key ids stand on several keys")
    if not keys:
        raise UnusableKeysError("it holds no usable key; " + "; ".join(ignored)[:500])
    return KeySet(tuple(keys), tuple(ignored))


def _members(document: bytes) -> list[Any]:
    if len(document) > DOCUMENT_BYTES_MAX:
        raise UnusableKeysError(f"it is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        members = read_object(document).get("keys")
    except ValueError:
        raise UnusableKeysError("it is not one sound JSON object") from None
    if not isinstance(members, list):
        raise UnusableKeysError("it is not a JWKS: there is no list of keys")
    if len(members) > KEYS_MAX:
        raise UnusableKeysError(f"it holds more than {KEYS_MAX} keys")
    return members


def _verifying_key(jwk: object) -> VerifyingKey:
    if not isinstance(jwk, dict):
        raise TypeError("it is not an object")
    if _PRIVATE & jwk.keys():
        raise ValueError("it is private or symmetric, so anybody could sign with it")
    kid = jwk.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= KID_MAX):
        raise ValueError("its kid is not a short text")
    algorithm, curve, names = _kind(jwk)
    _require_for_signatures(jwk, algorithm)
    public = {name: jwk.get(name) for name in names}
    # 8192 bits are 1366 characters; more is work for us and safety for nobody.
    if not all(isinstance(value, str) and 0 < len(value) <= 1400 for value in public.values()):
        raise ValueError("its public part is missing or too long")
    return VerifyingKey(kid, algorithm, _built({"kty": jwk["kty"], **public}, algorithm, curve))


def _kind(jwk: Mapping[str, object]) -> tuple[str, str | None, tuple[str, ...]]:
    kty = jwk.get("kty")
    kind = _KINDS.get(kty) if isinstance(kty, str) else None
    if kind is None:
        raise ValueError("its type is not OKP, EC or RSA")
    if kind[1] is not None and jwk.get("crv") != kind[1]:
        raise ValueError(f"its curve is not {kind[1]}")
    return kind


def _require_for_signatures(jwk: Mapping[str, object], algorithm: str) -> None:
    if jwk.get("alg", algorithm) != algorithm:
        raise ValueError(f"its alg is not {algorithm}")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("its use is not sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("its key_ops do not hold verify")


def _built(public: dict[str, Any], algorithm: str, curve: str | None) -> jwt.PyJWK:
    try:
        key = jwt.PyJWK({**public, "crv": curve} if curve else public, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        raise ValueError("its public part is not a key") from None
    if algorithm == "EdDSA" and _is_weak(key.key.public_bytes_raw()):
        raise ValueError("its public part is a point of small order")
    if algorithm == "RS256" and not RSA_BITS[0] <= key.key.key_size <= RSA_BITS[1]:
        raise ValueError(f"it is not of {RSA_BITS[0]} to {RSA_BITS[1]} bits")
    return key


def _is_weak(point: bytes) -> bool:
    y = int.from_bytes(point, "little") & (2**255 - 1)  # the top bit is the sign of x
    return y % _P in _WEAK_Y
