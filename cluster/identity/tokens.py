"""What a token says: its header before anything is trusted, its claims once the signature holds.

Laws of this file:
1. The algorithm is checked against our list before any key is looked for.
2. A name that stands twice, a number that is none, a critical extension: refused, never guessed at.
3. A token ends exactly at `exp`. Leeway only helps one that seems to come from the future, so that
   nothing outlives the moment that others (revocations, caches) reckon with.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cluster.identity.jwks import ALGORITHMS, KID_MAX
from policies.errors import RefusalError
from policies.message import AGENT_ID
from policies.principal import Principal
from policies.roles import granted_scopes, known_roles
from policies.strict_json import read_object

TOKEN_BYTES_MAX: Final = 8 * 1024
_JTI: Final = re.compile(r"\A[\x21-\x7e]{1,256}\Z")
_SEGMENT: Final = re.compile(r"\A[A-Za-z0-9_-]+\Z")
# An access token or one of no declared kind; not a logout token, not an encrypted one (RFC 8725).
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_LATEST_S: Final = 253_402_300_799  # the last second that a datetime can hold


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """Which key a token claims to be signed with, and how. Nothing of it is trusted yet."""

    algorithm: str
    kid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """Whose tokens we take, meant for whom, and how far a clock may be ahead of ours."""

    issuer: str
    audience: str
    leeway_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """Who signed in, and the hash of the access token that came along, if the provider said it."""

    subject: str
    access_hash: str | None


def read_header(token: str) -> TokenHeader:
    """Return the header of a token that is worth verifying; RefusalError otherwise."""
    if not token:
        raise refused("missing", "there is no token")
    if not token.isascii():
        raise refused("malformed", "a token is ASCII text")
    if len(token) > TOKEN_BYTES_MAX:
        raise refused("malformed", f"a token has at most {TOKEN_BYTES_MAX} bytes")
    segments = token.split(".")
    if len(segments) != 3 or not all(map(_SEGMENT.match, segments[:2])):
        raise refused("malformed", "a token is three base64url segments")
    header = _strict_json(_decoded(segments[0]), "header")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise refused("algorithm_refused", f"tokens are signed with {', '.join(ALGORITHMS)} only")
    return TokenHeader(algorithm, _sound_kid(header))


def read_principal(
    payload: bytes, rules: ClaimRules, *, now_s: float, fallback_id: str
) -> Principal:
    """Return whom the claims of a signed token prove; RefusalError when they do not hold now.

    `fallback_id` names a token that has no `jti`.
    """
    claims = _strict_json(payload, "payload")
    _require_ours(claims, rules)
    expires_at_s = _require_current(claims, now_s, rules.leeway_s)
    roles = known_roles(_roles(claims))
    return Principal(
        tenant=_id(claims, "tenant"),
        agent=_id(claims, "sub"),
        roles=roles,
        scopes=granted_scopes(roles, _asked(claims)),
        token_id=_token_id(claims, fallback_id),
        expires_at_s=expires_at_s,
        # Left out says that there is none; a null is somebody's mistake, and is refused.
        owner=_id(claims, "owner") if "owner" in claims else None,
    )


def read_sign_in(payload: bytes, rules: ClaimRules, *, nonce: str, now_s: float) -> SignIn:
    """Return who signed in, by the claims of a signed ID token; RefusalError when they do not hold.

    The audience of the rules is the client; `nonce` is what this sign-in began with
    (`auth.wrong_nonce` for another).
    """
    claims = _strict_json(payload, "payload")
    _require_ours(claims, rules)
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else rules.audience) != rules.audience:
        raise refused("wrong_audience", "this ID token was made for another client")
    _require_current(claims, now_s, rules.leeway_s)
    if _present(claims, "nonce") != nonce:
        raise refused("wrong_nonce", "this ID token belongs to another sign-in")
    at_hash = claims.get("at_hash")
    if at_hash is not None and not isinstance(at_hash, str):
        raise _invalid("at_hash", "a text")
    return SignIn(subject=_id(claims, "sub"), access_hash=at_hash)


def _sound_kid(header: Mapping[str, Any]) -> str | None:
    if "crit" in header or "b64" in header:
        raise refused("malformed", "this token needs an extension that we do not know")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise refused("malformed", "this is not an access token")
    kid = header.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= KID_MAX):
        raise refused("malformed", "the kid of a token is a short text")
    return kid


def _require_ours(claims: Mapping[str, Any], rules: ClaimRules) -> None:
    if _present(claims, "iss") != rules.issuer:
        raise refused("wrong_issuer", "this token comes from another issuer")
    audience = _present(claims, "aud")
    meant_for = audience if isinstance(audience, list) else [audience]
    if rules.audience not in meant_for:
        raise refused("wrong_audience", f"this token is not meant for {rules.audience}")


def _require_current(claims: Mapping[str, Any], now_s: float, leeway_s: float) -> float:
    expires_at_s = _moment(claims, "exp")
    if now_s >= expires_at_s:
        raise refused("token_expired", "this token has expired; ask for a new one")
    for name in ("nbf", "iat"):
        if name in claims and _moment(claims, name) > now_s + leeway_s:
            raise refused("not_yet_valid", f"this token is not valid yet (`{name}`)")
    return expires_at_s


def _roles(claims: Mapping[str, Any]) -> list[str]:
    roles = _present(claims, "roles")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise _invalid("roles", "a list of texts")
    return roles


def _asked(claims: Mapping[str, Any]) -> list[str] | None:
    if "scope" not in claims:
        return None
    scope = claims["scope"]
    if not isinstance(scope, str):
        raise _invalid("scope", "one text of scopes with spaces between them")
    return scope.split(" ")


def _token_id(claims: Mapping[str, Any], fallback_id: str) -> str:
    jti = claims.get("jti", fallback_id)
    if not isinstance(jti, str) or not _JTI.match(jti):
        raise _invalid("jti", "1 to 256 visible ASCII characters")
    return jti


def _id(claims: Mapping[str, Any], name: str) -> str:
    value = _present(claims, name)
    if not isinstance(value, str) or not AGENT_ID.match(value):
        raise _invalid(name, f"an id like {AGENT_ID.pattern}")
    return value


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = _present(claims, name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _invalid(name, "a number of seconds")
    if not 0 <= value <= _LATEST_S:
        raise _invalid(name, "a number of seconds since 1970")
    return float(value)


def _present(claims: Mapping[str, Any], name: str) -> Any:
    if name not in claims:
        raise refused("claim_missing", f"this token has no `{name}`")
    return claims[name]


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (binascii.Error, ValueError):
        raise refused("malformed", "the header is not base64url") from None


def _strict_json(raw: bytes, part: str) -> dict[str, Any]:
    try:
        return read_object(raw)
    except ValueError:
        raise refused("malformed", f"the {part} is not one sound JSON object") from None


def _invalid(name: str, wanted: str) -> RefusalError:
    return refused("claim_invalid", f"the claim `{name}` must be {wanted}")


def refused(kind: str, detail: str) -> RefusalError:
    """Return the 401 of this kind."""
    return RefusalError(f"auth.{kind}", detail, 401)
