"""Tokens for tests: sound by default, and every part of them can be replaced by a lie."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import get_algorithm_by_name

from builders import NOW

ISSUER: Final = "https://idp.example"

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Signer:
    """A key pair of an identity provider."""

    kid: str | None
    algorithm: str
    private: PrivateKey

    def jwk(self, **changes: object) -> dict[str, Any]:
        """The public half as a JWK; a change to None removes the member."""
        plain = get_algorithm_by_name(self.algorithm).to_jwk(
            self.private.public_key(), as_dict=True
        )
        plain.pop("key_ops", None)
        merged = {**plain, "kid": self.kid, "use": "sig", "alg": self.algorithm, **changes}
        return {name: value for name, value in merged.items() if value is not None}

    def private_jwk(self) -> dict[str, Any]:
        """The pair as a JWK that nobody should ever publish."""
        plain = get_algorithm_by_name(self.algorithm).to_jwk(self.private, as_dict=True)
        plain.pop("key_ops", None)
        return {**plain, "kid": self.kid}

    def sign(self, header: bytes, payload: bytes) -> str:
        """A token of exactly these bytes."""
        signed = f"{b64(header)}.{b64(payload)}"
        signature = get_algorithm_by_name(self.algorithm).sign(signed.encode(), self.private)
        return f"{signed}.{b64(signature)}"

    def token(self, header: Mapping[str, object] | None = None, **claims: object) -> str:
        """A token that is sound but for these changes; a change to `GONE` removes the claim."""
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        body = {**sound_claims(), **claims}
        body = {name: value for name, value in body.items() if value is not GONE}
        return self.sign(json.dumps(head).encode(), json.dumps(body).encode())


GONE: Final = object()


@cache
def a_signer(algorithm: str = "EdDSA", kid: str | None = "k1", number: int = 0) -> Signer:
    """A signer; the same arguments give the same key, another `number` another one."""
    assert number >= 0, "only tells signers apart"
    private: PrivateKey
    match algorithm:
        case "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
        case "ES256":
            private = ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            private = rsa.generate_private_key(65_537, 2048)
        case _:
            raise ValueError(algorithm)
    return Signer(kid, algorithm, private)


def sound_claims() -> dict[str, Any]:
    """Claims that prove `writer` of `acme`, an agent, for an hour."""
    now_s = int(NOW.timestamp())
    return {
        "iss": ISSUER,
        "aud": "acgs",
        "sub": "writer",
        "tenant": "acme",
        "roles": ["agent"],
        "iat": now_s,
        "exp": now_s + 3600,
        "jti": "token-1",
    }


def a_jwks(*jwks: object) -> bytes:
    """A JWKS document of these members."""
    return json.dumps({"keys": list(jwks)}).encode()


def b64(raw: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
