"""Whatever is sent as a token, the answer is a principal that the signer meant, or a refusal."""

from __future__ import annotations

import asyncio
import json

from hypothesis import example, given
from hypothesis import strategies as st
from token_builders import ISSUER, Signer, a_jwks, a_signer, b64, sound_claims

from cluster.identity.jwks import parse_jwks
from cluster.identity.sources import FixedKeys
from cluster.identity.tokens import ClaimRules
from cluster.identity.verifier import TokenVerifier
from policies.controls import Controls
from policies.errors import RefusalError
from policies.message import AGENT_ID
from policies.principal import Principal
from policies.roles import ROLE_SCOPES, granted_scopes

from builders import NOW

SIGNERS = [a_signer(algorithm, kid=algorithm) for algorithm in ("EdDSA", "ES256", "RS256")]
RULES = ClaimRules(issuer=ISSUER, audience="acgs", leeway_s=30)
KEYS = parse_jwks(a_jwks(*(signer.jwk() for signer in SIGNERS)))

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_segment = st.binary(max_size=80).map(b64) | st.text(max_size=20)
_token = (
    st.text()
    | st.lists(_segment, max_size=5).map(".".join)
    | st.tuples(_json.map(json.dumps), _json.map(json.dumps), st.binary(max_size=70)).map(
        lambda parts: f"{b64(parts[0].encode())}.{b64(parts[1].encode())}.{b64(parts[2])}"
    )
)
_value = _json | st.sampled_from(
    ["acme", "writer", ["agent"], ["tenant_admin", "root"], "acgs", ISSUER, "messages:send *"]
    + [int(NOW.timestamp()) + n for n in (-90, 0, 90)]
)
_claims = st.dictionaries(
    st.sampled_from(
        ["iss", "aud", "exp", "nbf", "iat", "tenant", "sub", "roles", "scope", "jti", "owner"]
    ),
    _value,
    max_size=4,
)
_headers = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "zip"]),
    _json | st.sampled_from(["EdDSA", "ES256", "RS256", "HS256", "none", "JWT"]),
    max_size=3,
)


def outcome(token: str) -> Principal | RefusalError:
    verifier = TokenVerifier(RULES, FixedKeys(KEYS), Controls)

    async def verify() -> Principal | RefusalError:
        try:
            verifier.recall(token, NOW)
            return await verifier.verify(token, NOW)
        except RefusalError as refusal:
            return refusal

    return asyncio.run(verify())


@given(_token)
@example("\ud800.\ud800.\ud800")
@example("." * 8_192)
@example("\x00")
def test_garbage_is_always_refused_with_a_401(token: str) -> None:
    refusal = outcome(token)
    assert isinstance(refusal, RefusalError)
    assert refusal.status == 401
    assert refusal.code.startswith("auth.")


@given(st.sampled_from(SIGNERS), _claims, _headers)
def test_signed_garbage_is_refused_or_is_sound(
    signer: Signer, claims: dict[str, object], header: dict[str, object]
) -> None:
    answer = outcome(signer.token(header, **claims))
    if isinstance(answer, RefusalError):
        assert (answer.status, answer.code[:5]) == (401, "auth.")
        return
    meant = {**sound_claims(), **claims}
    assert AGENT_ID.match(answer.tenant)
    assert (answer.tenant, answer.agent) == (meant["tenant"], meant["sub"])
    assert answer.roles <= set(meant["roles"]) & ROLE_SCOPES.keys()
    assert answer.scopes <= granted_scopes(answer.roles, None)
    assert answer.expires_at_s == meant["exp"] > NOW.timestamp()
    assert answer.owner == meant.get("owner")
    assert answer.owner is None or AGENT_ID.match(answer.owner)


@given(st.sampled_from(SIGNERS), st.data())
def test_a_token_with_any_byte_changed_is_refused(signer: Signer, data: st.DataObject) -> None:
    token = signer.token()
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(max_codepoint=0x17F).filter(lambda c: c != token[place]))
    answer = outcome(token[:place] + letter + token[place + 1 :])
    assert isinstance(answer, RefusalError)
