"""A laptop's own identity provider: one key pair under ACGS_DATA_DIR/keys, and tokens from it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cluster.clock import new_id
from cluster.errors import ConfigurationError
from cluster.identity.jwks import KeySet, parse_jwks
from cluster.keyring import read_or_make_secret
from cluster.settings import Environment, Settings
from policies.message import AGENT_ID
from policies.roles import ROLE_SCOPES, granted_scopes

TTL_S_MAX: Final = 30 * 86_400


def may_mint(settings: Settings) -> bool:
    """Say whether this installation trusts its own development key: on a laptop without a JWKS."""
    is_laptop = settings.env is Environment.DEV
    return is_laptop and settings.jwks_url is None and settings.jwks_file is None


def dev_key_set(settings: Settings) -> KeySet:
    """Return the development key's public half, making the pair at first use."""
    return parse_jwks(json.dumps({"keys": [_public_jwk(_signing_key(settings))]}).encode())


def mint_token(
    settings: Settings,
    *,
    tenant: str,
    agent: str,
    roles: Iterable[str],
    scopes: Iterable[str] | None = None,
    ttl_s: float,
    now: datetime,
    owner: str | None = None,
) -> str:
    """Return a signed development token; `scopes` narrow what the roles carry.

    `owner` is who answers for the agent.

    Raises ConfigurationError outside dev, and for a token that the bus would not accept as asked.
    """
    if not may_mint(settings):
        raise ConfigurationError(
            "tokens are minted only with ACGS_ENV=dev and no ACGS_JWKS_URL or ACGS_JWKS_FILE; "
            "here they come from your identity provider"
        )
    roles, scopes = list(roles), None if scopes is None else list(scopes)
    ids = {"tenant": tenant, "sub": agent, **({} if owner is None else {"owner": owner})}
    _require_acceptable(ids, ttl_s)
    _require_grantable(roles, scopes)
    issued_at = int(now.timestamp())
    claims: dict[str, object] = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": agent,
        "tenant": tenant,
        "roles": roles,
        "iat": issued_at,
        "exp": issued_at + int(ttl_s),
        "jti": new_id(now),
    }
    if scopes is not None:
        claims["scope"] = " ".join(scopes)
    if owner is not None:
        claims["owner"] = owner
    key = _signing_key(settings)
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": _public_jwk(key)["kid"]})


def _require_acceptable(ids: Mapping[str, str], ttl_s: float) -> None:
    for name, value in ids.items():
        if not AGENT_ID.match(value):
            raise ConfigurationError(
                f"{name} must match {AGENT_ID.pattern}, and {value!r} does not"
            )
    if not 1 <= ttl_s <= TTL_S_MAX:
        raise ConfigurationError(f"a token lives 1 to {TTL_S_MAX} seconds")


def _require_grantable(roles: list[str], scopes: list[str] | None) -> None:
    strangers = sorted(set(roles) - ROLE_SCOPES.keys())
    if strangers or not roles:
        raise ConfigurationError(f"a role is one of {', '.join(ROLE_SCOPES)}; got {strangers}")
    wider = sorted(set(scopes or ()) - granted_scopes(roles, None))
    if wider:
        raise ConfigurationError(f"scopes only narrow, and these roles do not carry {wider}")


def _signing_key(settings: Settings) -> Ed25519PrivateKey:
    path = settings.data_dir / "keys" / "identity.pem"
    try:
        key = load_pem_private_key(read_or_make_secret(path, _fresh_pem), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} is not an Ed25519 key; remove it to have a new one made")
    return key


def _fresh_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def _public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    public = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(key.public_key().public_bytes_raw())}
    # The key's thumbprint (RFC 7638): another key never has the same id.
    thumbprint = sha256(json.dumps(public, separators=(",", ":"), sort_keys=True).encode())
    return {**public, "kid": _base64url(thumbprint.digest()), "use": "sig", "alg": "EdDSA"}


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
