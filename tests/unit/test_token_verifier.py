"""A token proves who sent it, or it is refused with a reason; nothing in between."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from token_builders import GONE, ISSUER, Signer, a_jwks, a_signer, b64, sound_claims

from cluster.identity.jwks import KeySet, parse_jwks
from cluster.identity.sources import FixedKeys
from cluster.identity.tokens import TOKEN_BYTES_MAX, ClaimRules
from cluster.identity.verifier import TokenVerifier
from policies.controls import Controls, Kill, KillScope
from policies.errors import DependencyError, RefusalError
from policies.principal import Principal
from policies.roles import ROLE_SCOPES, SCOPES

from builders import NOW

RULES = ClaimRules(issuer=ISSUER, audience="acgs", leeway_s=30.0)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Board:
    """Switches that a test can change."""

    def __init__(self) -> None:
        self.controls: Controls | DependencyError = Controls()

    def current(self) -> Controls:
        if isinstance(self.controls, DependencyError):
            raise self.controls
        return self.controls


class ChangingKeys(FixedKeys):
    """Keys that a test replaces, and that may need a fetch."""

    def __init__(self, keys: KeySet) -> None:
        super().__init__(keys)
        self.now: KeySet | None = keys
        self.next = keys
        self.asked_for_newer = 0

    def current(self) -> KeySet | None:  # type: ignore[override]  # a fake that may have none
        return self.now

    async def keys(self) -> KeySet:
        self.now = self.next
        return self.next

    async def newer(self, seen: KeySet) -> KeySet:
        self.asked_for_newer += 1
        await asyncio.sleep(0)
        assert seen is not None
        return await self.keys()


def a_verifier(
    *signers: Signer, board: Board | None = None, remembered_max: int = 100
) -> TokenVerifier:
    keys = parse_jwks(a_jwks(*(signer.jwk() for signer in signers or (a_signer(),))))
    source = FixedKeys(keys)
    controls = (board or Board()).current
    return TokenVerifier(RULES, source, controls, remembered_max=remembered_max)


def verify(token: str, *signers: Signer, now: datetime = NOW) -> Principal:
    return asyncio.run(a_verifier(*signers).verify(token, now))


def refusal(token: str, *signers: Signer, now: datetime = NOW) -> str:
    with pytest.raises(RefusalError) as caught:
        verify(token, *signers, now=now)
    assert caught.value.status == 401
    return caught.value.code


# What a sound token proves


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_sound_token_proves_its_principal(algorithm: str) -> None:
    signer = a_signer(algorithm)
    assert verify(signer.token(), signer) == Principal(
        tenant="acme",
        agent="writer",
        roles=frozenset({"agent"}),
        scopes=ROLE_SCOPES["agent"],
        token_id="token-1",
        expires_at_s=NOW.timestamp() + 3600,
    )


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
def test_access_tokens_of_the_usual_kinds_are_taken(kind: str | None) -> None:
    assert verify(a_signer().token({"typ": kind})).agent == "writer"


def test_the_audience_may_be_one_of_several() -> None:
    assert verify(a_signer().token(aud=["billing", "acgs"])).agent == "writer"


def test_the_right_key_of_several_is_used() -> None:
    signers = [a_signer(a, kid=a) for a in ("EdDSA", "ES256", "RS256")]
    for signer in signers:
        assert verify(signer.token(), *signers).agent == "writer"


def test_a_token_without_kid_uses_the_only_key_that_fits() -> None:
    signers = [a_signer("EdDSA"), a_signer("ES256", kid="k2")]
    assert verify(a_signer("EdDSA").token({"kid": None}), *signers).agent == "writer"


def test_a_token_without_kid_is_refused_where_two_keys_fit() -> None:
    signers = [a_signer(kid="k1"), a_signer(kid="k2", number=1)]
    assert refusal(signers[0].token({"kid": None}), *signers) == "auth.unknown_key"


# Algorithms


@pytest.mark.parametrize(
    "algorithm",
    [
        *("none", "None", "NONE", "", "HS256", "HS512", "RS512", "PS256", "ES384", "ES256K"),
        *("Ed25519", "eddsa", "EdDSA ", 0, 5, ["EdDSA"], {"EdDSA": 1}, True),
    ],
    ids=repr,
)
def test_only_three_algorithms_are_taken(algorithm: object) -> None:
    assert refusal(a_signer().token({"alg": algorithm})) == "auth.algorithm_refused"


def test_a_token_without_algorithm_is_refused() -> None:
    assert refusal(a_signer().token({"alg": None})) == "auth.algorithm_refused"


def test_an_unsigned_token_is_refused() -> None:
    header, payload = b'{"alg":"none","typ":"JWT"}', json.dumps(sound_claims()).encode()
    assert refusal(f"{b64(header)}.{b64(payload)}.") == "auth.algorithm_refused"


def test_the_algorithm_is_refused_before_any_key_is_looked_for() -> None:
    source = ChangingKeys(parse_jwks(a_jwks(a_signer().jwk())))
    source.now = None
    verifier = TokenVerifier(RULES, source, Board().current)
    with pytest.raises(RefusalError, match="signed with EdDSA, ES256, RS256 only"):
        asyncio.run(verifier.verify(a_signer().token({"alg": "HS256", "kid": "x"}), NOW))
    assert source.now is None
    assert source.asked_for_newer == 0


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
@pytest.mark.parametrize("claimed", ["HS256", "RS256"])
def test_a_public_key_is_no_shared_secret(form: str, claimed: str) -> None:
    signer = a_signer("RS256")
    public = signer.private.public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(signer.jwk()).encode(),
    }[form]
    header = json.dumps({"alg": claimed, "typ": "JWT", "kid": "k1"}).encode()
    signed = f"{b64(header)}.{b64(json.dumps(sound_claims()).encode())}"
    token = f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"
    expected = {"HS256": "auth.algorithm_refused", "RS256": "auth.bad_signature"}
    assert refusal(token, signer) == expected[claimed]


@pytest.mark.parametrize("claimed", ["EdDSA", "ES256", "RS256"])
@pytest.mark.parametrize("real", ["EdDSA", "ES256", "RS256"])
def test_a_key_is_used_with_its_own_algorithm_only(claimed: str, real: str) -> None:
    if claimed == real:
        return
    signer = a_signer(real)
    assert refusal(signer.token({"alg": claimed}), signer) == "auth.algorithm_refused"


# Keys and signatures


@pytest.mark.parametrize(
    "kid",
    [
        *(
            "k2",
            "../../../etc/passwd",
            "/dev/null",
            "k1\x00",
            "K1",
            " k1",
            "' OR 1=1 --",
            "k1/../k1",
        ),
        *("file:///k1", "https://evil.example/keys", "$(id)", "\u212a1", "ключ", "a" * 256),
    ],
)
def test_a_kid_is_only_ever_a_name(kid: str) -> None:
    assert refusal(a_signer().token({"kid": kid})) == "auth.unknown_key"


@pytest.mark.parametrize("kid", ["", "a" * 257, 1, ["k1"], {"k1": 1}, True])
def test_a_kid_is_a_short_text(kid: object) -> None:
    assert refusal(a_signer().token({"kid": kid})) == "auth.malformed"


def test_a_key_inside_the_token_is_not_used() -> None:
    stranger = a_signer(number=9)
    for more in (
        {"jwk": stranger.jwk()},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
    ):
        assert refusal(stranger.token(more)) == "auth.bad_signature"


def test_another_providers_key_of_the_same_name_is_refused() -> None:
    assert refusal(a_signer(number=1).token()) == "auth.bad_signature"


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda signature: signature[:-1],
        lambda signature: signature + b"\0",
        lambda signature: bytes(len(signature)),
        lambda signature: bytes([signature[0] ^ 1]) + signature[1:],
        lambda signature: signature * 20,
    ],
    ids=["none", "short", "long", "zeros", "flipped", "repeated"],
)
def test_a_damaged_signature_is_refused(algorithm: str, damage: Callable[[bytes], bytes]) -> None:
    signer = a_signer(algorithm)
    signed, _, signature = signer.token().rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    assert refusal(f"{signed}.{b64(damage(raw))}", signer) == "auth.bad_signature"


@pytest.mark.parametrize(
    "rewrite",
    [lambda s: s[:-1] + chr(ord(s[-1]) + 1), lambda s: s + "!", lambda s: s + "="],
    ids=["bits", "letter", "padding"],
)
@pytest.mark.parametrize("segment", [0, 1, 2])
def test_each_segment_is_written_in_one_way_only(
    segment: int, rewrite: Callable[[str], str]
) -> None:
    # The last letter of base64 has bits that nobody reads: other letters would decode alike.
    segments = a_signer().token(pad="x").split(".")
    segments[segment] = rewrite(segments[segment])
    assert refusal(".".join(segments)) in {"auth.malformed", "auth.bad_signature"}


def test_a_changed_claim_breaks_the_signature() -> None:
    header, _, signature = a_signer().token().split(".")
    claims = json.dumps({**sound_claims(), "sub": "admin"}).encode()
    assert refusal(f"{header}.{b64(claims)}.{signature}") == "auth.bad_signature"


# Shape


@pytest.mark.parametrize(
    "token",
    [
        *(
            " ",
            ".",
            "..",
            "...",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "a.b.c.d.e",
            "\u212a.b.c",
            "a b.c.d",
            "a=.b.c",
        ),
        *("Bearer x.y.z", "e30.e30", "!.!.!", "\x00.\x00.\x00", "[].{}.()", "\n" * 9),
    ],
    ids=repr,
)
def test_what_is_no_jwt_is_malformed(token: str) -> None:
    assert refusal(token) == "auth.malformed"


def test_no_token_is_missing() -> None:
    assert refusal("") == "auth.missing"


@pytest.mark.parametrize("size", [TOKEN_BYTES_MAX + 1, 1_000_000])
def test_a_huge_token_is_refused_unread(size: int) -> None:
    token = a_signer().token(padding="x" * size)
    assert refusal(token) == "auth.malformed"


def test_a_token_of_the_largest_size_is_taken() -> None:
    token = next(
        token
        for length in range(5_900, 0, -1)
        if len(token := a_signer().token(padding="x" * length)) <= TOKEN_BYTES_MAX
    )
    assert len(token) >= TOKEN_BYTES_MAX - 2
    assert verify(token).agent == "writer"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"null",
        b"[]",
        b'"EdDSA"',
        b"{",
        b"\xff",
        b'{"alg":"EdDSA","alg":"EdDSA","kid":"k1"}',
        b'{"alg":"none","alg":"EdDSA","kid":"k1"}',
        b'{"alg":"EdDSA","kid":"k1","kid":"k2"}',
        b'{"alg":"EdDSA","kid":"k1","crit":["exp"],"exp":1}',
        b'{"alg":"EdDSA","kid":"k1","crit":[]}',
        b'{"alg":"EdDSA","kid":"k1","b64":false,"crit":["b64"]}',
        b'{"alg":"EdDSA","kid":"k1","b64":true}',
        b'{"alg":"EdDSA","kid":"k1","typ":"logout+jwt"}',
        b'{"alg":"EdDSA","kid":"k1","typ":null}',
        b'{"alg":"EdDSA","kid":"k1","typ":["JWT"]}',
        b'{"alg":"EdDSA","kid":"k1","x":NaN}',
        '{"alg":"EdDSA","kid":"k1"}'.encode("utf-16"),
        b'{"a":' * 1_000,
    ],
)
def test_a_header_that_can_be_read_twice_is_malformed(header: bytes) -> None:
    token = a_signer().sign(header, json.dumps(sound_claims()).encode())
    assert refusal(token) == "auth.malformed"


@pytest.mark.parametrize(
    "payload",
    [
        b"null",
        b"[]",
        b'"claims"',
        b"{",
        b"\xff\xfe",
        b'{"sub":"writer","sub":"admin"}',
        b'{"roles":["agent"],"roles":["tenant_admin"]}',
        b'{"exp":NaN}',
        b'{"exp":Infinity}',
        b'{"exp":' + b"9" * 4_400 + b"}",
        b"[" * 4_000,
        json.dumps(sound_claims()).encode("utf-16-le"),
    ],
)
def test_claims_that_can_be_read_twice_are_malformed(payload: bytes) -> None:
    token = a_signer().sign(b'{"alg":"EdDSA","kid":"k1"}', payload)
    assert refusal(token) == "auth.malformed"


def test_a_claim_written_twice_in_other_letters_is_malformed() -> None:
    claims = json.dumps(sound_claims())[:-1] + ', "\\u0073ub": "admin"}'
    token = a_signer().sign(b'{"alg":"EdDSA","kid":"k1"}', claims.encode())
    assert refusal(token) == "auth.malformed"


# Claims


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "tenant", "sub", "roles"])
def test_a_missing_claim_is_named(name: str) -> None:
    with pytest.raises(RefusalError, match=f"has no `{name}`") as caught:
        verify(a_signer().token(**{name: GONE}))
    assert (caught.value.code, caught.value.status) == ("auth.claim_missing", 401)


@pytest.mark.parametrize("name", ["iat", "nbf", "scope", "jti"])
def test_the_other_claims_may_be_left_out(name: str) -> None:
    assert verify(a_signer().token(**{name: GONE})).agent == "writer"


@pytest.mark.parametrize(
    "issuer",
    ["https://evil.example", ISSUER + "/", ISSUER.upper(), "", None, [ISSUER], 1],
    ids=repr,
)
def test_another_issuer_is_refused(issuer: object) -> None:
    assert refusal(a_signer().token(iss=issuer)) == "auth.wrong_issuer"


@pytest.mark.parametrize(
    "audience",
    ["billing", "ACGS", "acgs ", "", [], ["billing"], [["acgs"]], {"acgs": 1}, None, 1],
    ids=repr,
)
def test_another_audience_is_refused(audience: object) -> None:
    assert refusal(a_signer().token(aud=audience)) == "auth.wrong_audience"


_NOT_IDS = [
    *("ACME", "Acme", "a", "", " acme", "acme ", "acme\n", "-acme", "_acme", "a" * 65, "a/b", "*"),
    *(
        "\u0430\u0441me",
        "acm\uff45",
        "acmé",
        "acme\x00",
        "a.b",
        "none\u200b",
        "../x",
        "{acme}",
        "acme:x",
    ),
    *(None, 1, 1.5, True, ["acme"], {"acme": 1}),
]


@pytest.mark.parametrize("claim", ["tenant", "sub"])
@pytest.mark.parametrize("value", _NOT_IDS, ids=repr)
def test_tenant_and_sub_are_ids_and_nothing_that_looks_like_one(claim: str, value: object) -> None:
    assert refusal(a_signer().token(**{claim: value})) == "auth.claim_invalid"


@pytest.mark.parametrize("value", _NOT_IDS, ids=repr)
def test_an_owner_is_an_id_too_where_there_is_one(value: object) -> None:
    assert refusal(a_signer().token(owner=value)) == "auth.claim_invalid"


def test_a_token_may_say_who_answers_for_its_agent() -> None:
    assert verify(a_signer().token(owner="olga")).owner == "olga"
    assert verify(a_signer().token()).owner is None


@pytest.mark.parametrize("roles", ["agent", "agent tenant_admin", None, {"agent": 1}, 1, True])
@pytest.mark.parametrize("nested", [False, True])
def test_roles_are_a_list_of_texts(roles: object, *, nested: bool) -> None:
    if nested and isinstance(roles, str):
        roles = [roles, 7]
    elif nested:
        roles = ["agent", roles]
    assert refusal(a_signer().token(roles=roles)) == "auth.claim_invalid"


@pytest.mark.parametrize(
    "stranger", ["root", "AGENT", "agent ", "", "tenant_admin\u200b", "*", "\u0430gent", "\ud800"]
)
def test_an_unknown_role_grants_nothing_and_is_not_passed_on(stranger: str) -> None:
    alone = verify(a_signer().token(roles=[stranger]))
    assert (alone.roles, alone.scopes) == (frozenset(), frozenset())
    beside = verify(a_signer().token(roles=["agent", stranger]))
    assert (beside.roles, beside.scopes) == (frozenset({"agent"}), ROLE_SCOPES["agent"])


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("messages:send", {"messages:send"}),
        ("messages:send decisions:read", {"messages:send", "decisions:read"}),
        ("messages:send messages:send", {"messages:send"}),
        ("", set()),
        (" ", set()),
        ("openid profile", set()),
        ("openid messages:send", {"messages:send"}),
        ("tenants:admin ops:control", set()),
        (" ".join(sorted(SCOPES)), set(ROLE_SCOPES["agent"])),
        ("*", set()),
        ("messages:*", set()),
        ("MESSAGES:SEND", set()),
        ("messages:send\tdecisions:read", set()),
        ("messages:send,decisions:read", set()),
    ],
)
def test_scope_narrows_and_never_widens(scope: str, granted: set[str]) -> None:
    assert verify(a_signer().token(scope=scope)).scopes == granted


@pytest.mark.parametrize("scope", [None, ["messages:send"], 1, True, {}])
def test_scope_is_one_text(scope: object) -> None:
    assert refusal(a_signer().token(scope=scope)) == "auth.claim_invalid"


@pytest.mark.parametrize(
    "jti", ["", " ", "a b", "a\n", "a" * 257, "\u0430", None, 1, ["a"]], ids=repr
)
def test_a_jti_is_short_and_visible(jti: object) -> None:
    assert refusal(a_signer().token(jti=jti)) == "auth.claim_invalid"


# Time


@pytest.mark.parametrize(("after_s", "alive"), [(0, True), (3599.9, True), (3600, False)])
def test_a_token_ends_exactly_at_exp(after_s: float, *, alive: bool) -> None:
    now = NOW + timedelta(seconds=after_s)
    if alive:
        assert verify(a_signer().token(), now=now).agent == "writer"
    else:
        assert refusal(a_signer().token(), now=now) == "auth.token_expired"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize(("ahead_s", "valid"), [(-60, True), (30, True), (31, False), (1e9, False)])
def test_a_token_from_the_future_waits_but_for_the_leeway(
    claim: str, ahead_s: float, *, valid: bool
) -> None:
    token = a_signer().token(**{claim: NOW.timestamp() + ahead_s, "exp": 9e10})
    if valid:
        assert verify(token).agent == "writer"
    else:
        assert refusal(token) == "auth.not_yet_valid"


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    ["1800000000", None, True, [], -1, 10**15, 10**400, 1e308, "never", {}],
    ids=["text", "null", "true", "list", "negative", "far", "huge", "largest", "word", "object"],
)
def test_a_moment_is_a_number_that_a_calendar_holds(claim: str, value: object) -> None:
    assert refusal(a_signer().token(**{claim: value})) == "auth.claim_invalid"


def test_a_float_may_be_a_moment() -> None:
    expires_at_s = NOW.timestamp() + 0.5
    assert verify(a_signer().token(exp=expires_at_s)).expires_at_s == expires_at_s
    assert refusal(a_signer().token(exp=1e999)) == "auth.malformed"


# Remembering


def _many(verifier: TokenVerifier, calls: Sequence[tuple[str, datetime]]) -> list[object]:
    async def run() -> list[object]:
        answers: list[object] = []
        for token, now in calls:
            try:
                answers.append(await verifier.verify(token, now))
            except (RefusalError, DependencyError) as error:
                answers.append(error.code)
        return answers

    return asyncio.run(run())


def test_a_verified_token_is_recalled_without_waiting() -> None:
    verifier, token = a_verifier(), a_signer().token()
    assert verifier.recall(token, NOW) is None
    (principal,) = _many(verifier, [(token, NOW)])
    assert verifier.recall(token, NOW) is principal


@pytest.mark.parametrize("token", ["", "x", "x" * (TOKEN_BYTES_MAX + 1), "\u212a"])
def test_what_was_never_verified_is_not_recalled(token: str) -> None:
    assert a_verifier().recall(token, NOW) is None


def test_a_refused_token_is_not_remembered() -> None:
    verifier, token = a_verifier(), a_signer(number=1).token()
    assert _many(verifier, [(token, NOW)] * 2) == ["auth.bad_signature"] * 2
    assert not verifier._proofs


def test_a_remembered_token_still_ends() -> None:
    verifier, token = a_verifier(), a_signer().token()
    late = NOW + timedelta(hours=1)
    assert _many(verifier, [(token, NOW), (token, late)])[1] == "auth.token_expired"
    assert not verifier._proofs


def test_a_remembered_token_is_refused_once_it_is_revoked() -> None:
    board, token = Board(), a_signer().token()
    verifier = a_verifier(board=board)
    _many(verifier, [(token, NOW)])
    board.controls = Controls().with_revoked_token("token-1", 2e9)
    with pytest.raises(RefusalError) as caught:
        verifier.recall(token, NOW)
    assert (caught.value.code, caught.value.status) == ("auth.revoked", 401)
    assert _many(verifier, [(token, NOW)]) == ["auth.revoked"]


@pytest.mark.parametrize("remembered", [False, True])
def test_every_token_of_a_revoked_agent_is_refused(*, remembered: bool) -> None:
    board = Board()
    verifier = a_verifier(board=board)
    tokens = [a_signer().token(jti=jti) for jti in ("a", "b")]
    if remembered:
        _many(verifier, [(token, NOW) for token in tokens])
    board.controls = Controls().with_revoked_agent("acme", "writer")
    assert _many(verifier, [(token, NOW) for token in tokens]) == ["auth.revoked"] * 2
    other = a_signer().token(sub="mailer")
    assert isinstance(_many(verifier, [(other, NOW)])[0], Principal)


def test_a_killed_tenant_can_still_prove_who_releases_it() -> None:
    board = Board()
    kill = Kill(scope=KillScope(), reason="stop", by="olga", at=NOW)
    board.controls = Controls().with_kill(kill)
    (principal,) = _many(a_verifier(board=board), [(a_signer().token(), NOW)])
    assert isinstance(principal, Principal)


@pytest.mark.parametrize("remembered", [False, True])
def test_nobody_is_believed_while_revocations_are_unknown(*, remembered: bool) -> None:
    board, token = Board(), a_signer().token()
    verifier = a_verifier(board=board)
    if remembered:
        _many(verifier, [(token, NOW)])
    board.controls = DependencyError("controls", "it is too old")
    assert _many(verifier, [(token, NOW)]) == ["dependency.unavailable"]


def test_a_rewritten_signature_does_not_bring_a_revoked_token_back() -> None:
    # Anybody can turn the signature (r, s) of ES256 into another that holds: (r, n - s).
    signer, board = a_signer("ES256"), Board()
    verifier = a_verifier(signer, board=board)
    token = signer.token(jti=GONE)
    (principal,) = _many(verifier, [(token, NOW)])
    assert isinstance(principal, Principal)
    board.controls = Controls().with_revoked_token(principal.token_id, 2e9)
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    s = P256_ORDER - int.from_bytes(raw[32:], "big")
    twin = f"{signed}.{b64(raw[:32] + s.to_bytes(32, 'big'))}"
    assert twin != token
    assert verify(twin, signer).token_id == principal.token_id, "the twin itself is sound"
    assert _many(verifier, [(twin, NOW)]) == ["auth.revoked"]


def test_a_token_without_jti_is_named_by_what_was_signed() -> None:
    token = a_signer().token(jti=GONE)
    digest = hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()
    assert verify(token).token_id == f"sha256:{digest}"


def test_memory_is_bounded_and_forgets_the_least_used() -> None:
    verifier = a_verifier(remembered_max=3)
    tokens = [a_signer().token(jti=f"t{n}") for n in range(4)]
    _many(verifier, [(tokens[n], NOW) for n in (0, 1, 2, 0, 3)])
    assert [verifier.recall(token, NOW) is not None for token in tokens] == [
        True,
        False,
        True,
        True,
    ]


def test_new_keys_end_what_old_keys_proved() -> None:
    old, new = a_signer(kid="k1"), a_signer(kid="k2", number=1)
    source = ChangingKeys(parse_jwks(a_jwks(old.jwk(), new.jwk())))
    verifier = TokenVerifier(RULES, source, Board().current)
    tokens = [(old.token(), NOW), (new.token(jti="t2"), NOW)]
    assert all(isinstance(answer, Principal) for answer in _many(verifier, tokens))
    source.now = source.next = parse_jwks(a_jwks(new.jwk()))
    answers = _many(verifier, tokens)
    assert answers[0] == "auth.unknown_key"
    assert isinstance(answers[1], Principal)


def test_an_unknown_kid_makes_the_source_look_again() -> None:
    old, new = a_signer(kid="k1"), a_signer(kid="k2", number=1)
    source = ChangingKeys(parse_jwks(a_jwks(old.jwk())))
    source.next = parse_jwks(a_jwks(old.jwk(), new.jwk()))
    verifier = TokenVerifier(RULES, source, Board().current)
    (principal,) = _many(verifier, [(new.token(), NOW)])
    assert isinstance(principal, Principal)
    assert source.asked_for_newer == 1
    _many(verifier, [(new.token(), NOW), (old.token(), NOW)])
    assert source.asked_for_newer == 1


def test_a_refusal_tells_nothing_of_the_token() -> None:
    token = a_signer().token(sub="Secret-Agent", tenant="Secret-Tenant", jti="secret-jti" * 99)
    with pytest.raises(RefusalError) as caught:
        verify(token)
    assert "secret" not in str(caught.value).lower()


def test_rules_are_obeyed_as_given() -> None:
    verifier = a_verifier()
    verifier._rules = replace(RULES, audience="other", issuer="me")
    token = a_signer().token(iss="me", aud="other")
    assert isinstance(_many(verifier, [(token, NOW)])[0], Principal)
    asyncio.run(verifier.close())
