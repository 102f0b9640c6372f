"""Of a JWKS only sound public signing keys are trusted; the others are left out and told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from jwt import get_algorithm_by_name
from token_builders import a_jwks, a_signer, b64

from cluster.identity import jwks
from cluster.identity.jwks import KeySet, UnusableKeysError, parse_jwks

GOOD = a_signer(kid="good")


def left_out(jwk: object) -> str:
    """Parse a set of this key and a good one; return why this one was left out."""
    keys = parse_jwks(a_jwks(jwk, GOOD.jwk()))
    assert [key.kid for key in keys.keys] == ["good"]
    (reason,) = keys.ignored
    assert reason.startswith("key 0: ")
    return reason.removeprefix("key 0: ")


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"alg": None}, {"use": None}, {"key_ops": ["verify"]}, {"x5c": ["junk"], "extra": 1}],
    ids=["plain", "no alg", "no use", "key_ops", "more"],
)
def test_a_sound_key_is_bound_to_its_algorithm(algorithm: str, changes: dict[str, Any]) -> None:
    keys = parse_jwks(a_jwks(a_signer(algorithm).jwk(**changes)))
    assert [(key.kid, key.algorithm) for key in keys.keys] == [("k1", algorithm)]
    assert keys.ignored == ()


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_private_key_is_never_trusted(algorithm: str) -> None:
    assert "anybody could sign" in left_out(a_signer(algorithm).private_jwk())


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_one_private_member_is_enough(member: str) -> None:
    assert "anybody could sign" in left_out(a_signer().jwk(**{member: ""}))


def test_a_symmetric_key_is_never_trusted() -> None:
    assert "anybody could sign" in left_out({"kty": "oct", "k": b64(b"x" * 32), "kid": "h"})
    assert "not OKP, EC or RSA" in left_out({"kty": "oct", "kid": "h"})


@pytest.mark.parametrize("alg", ["HS256", "none", "RS512", "PS256", "RSA-OAEP", "", 1, ["EdDSA"]])
def test_a_key_for_another_algorithm_is_left_out(alg: object) -> None:
    assert "its alg is not" in left_out(a_signer().jwk(alg=alg))


@pytest.mark.parametrize("use", ["enc", "", "SIG", 1])
def test_a_key_for_another_use_is_left_out(use: object) -> None:
    assert "its use is not" in left_out(a_signer().jwk(use=use))


@pytest.mark.parametrize("operations", [[], ["sign"], "verify", {"verify": 1}], ids=repr)
def test_a_key_for_other_operations_is_left_out(operations: object) -> None:
    assert "its key_ops" in left_out(a_signer().jwk(key_ops=operations))


@pytest.mark.parametrize("kid", ["", "x" * 257, 1, ["k"]], ids=["empty", "long", "1", "list"])
def test_a_key_with_a_strange_name_is_left_out(kid: object) -> None:
    assert "its kid" in left_out(a_signer().jwk(kid=kid))


@pytest.mark.parametrize("kty", ["", "okp", "DSA", 1, None, ["OKP"]], ids=repr)
def test_a_key_of_another_type_is_left_out(kty: object) -> None:
    assert "its type" in left_out(a_signer().jwk(kty=kty))


@pytest.mark.parametrize("curve", ["P-384", "secp256k1", "P-521", None, 1])
def test_a_key_on_another_curve_is_left_out(curve: object) -> None:
    assert "its curve" in left_out(a_signer("ES256").jwk(crv=curve))


def test_an_ed448_key_is_left_out() -> None:
    public = ed448.Ed448PrivateKey.generate().public_key().public_bytes_raw()
    assert "its curve" in left_out({"kty": "OKP", "crv": "Ed448", "x": b64(public)})


def test_a_p384_key_is_left_out() -> None:
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    jwk = get_algorithm_by_name("ES384").to_jwk(public, as_dict=True)
    assert "its curve" in left_out(jwk)


@pytest.mark.parametrize("bits", [1024, 1536])
def test_a_short_rsa_key_is_left_out(bits: int) -> None:
    public = rsa.generate_private_key(65_537, bits).public_key()
    jwk = get_algorithm_by_name("RS256").to_jwk(public, as_dict=True)
    jwk.pop("key_ops")
    assert "2048 to 8192 bits" in left_out(jwk)


def test_a_giant_rsa_key_is_left_out_without_work() -> None:
    modulus = b64(b"\xff" * 100_000)
    assert "too long" in left_out({"kty": "RSA", "n": modulus, "e": "AQAB"})


@pytest.mark.parametrize(
    "jwk",
    [
        a_signer().jwk(x=None),
        a_signer().jwk(x=""),
        a_signer().jwk(x=1),
        a_signer().jwk(x="AAAA"),
        a_signer().jwk(x="!" * 43),
        a_signer().jwk(x="é" * 43),
        a_signer("ES256").jwk(y=None),
        a_signer("ES256").jwk(y=b64(bytes(32))),
        a_signer("ES256").jwk(x=b64(bytes(32)), y=b64(bytes(32))),
        a_signer("RS256").jwk(e=b64(b"\x01")),
        a_signer("RS256").jwk(e=b64(b"\x04")),
        a_signer("RS256").jwk(e=[65_537]),
        a_signer("RS256").jwk(n=None),
    ],
    ids=range(13),
)
def test_a_key_that_is_none_is_left_out(jwk: dict[str, Any]) -> None:
    assert "public part" in left_out(jwk)


@pytest.mark.parametrize("member", [None, 1, "key", [], ["kty"]], ids=repr)
def test_what_is_no_object_is_left_out(member: object) -> None:
    assert "not an object" in left_out(member)


def _small_order_points() -> list[bytes]:
    p, y8 = jwks._P, jwks._Y8
    ys = [0, 1, p - 1, p, p + 1, y8, p - y8]
    return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


@pytest.mark.parametrize("point", _small_order_points(), ids=bytes.hex)
def test_a_point_under_which_anybody_can_sign_is_left_out(point: bytes) -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(point), "kid": "weak"}
    assert "public part" in left_out(jwk)


def test_such_points_really_let_anybody_sign() -> None:
    # Else the test above would guard against nothing: (R, S) = (identity, 0) holds under them
    # whenever the message's hash is a multiple of 8.
    forged = (1).to_bytes(32, "little") + bytes(32)
    fooled = set()
    for point in _small_order_points():
        for number in range(200):
            try:
                Ed25519PublicKey.from_public_bytes(point).verify(forged, b"%d" % number)
            except Exception:  # noqa: BLE001  # OpenSSL says no in more than one way
                continue
            fooled.add(point)
            break
    assert len(fooled) >= 5


def test_keys_that_share_a_name_are_all_left_out() -> None:
    first, second = a_signer(kid="twin"), a_signer(kid="twin", number=1)
    keys = parse_jwks(a_jwks(first.jwk(), second.jwk(), GOOD.jwk()))
    assert [key.kid for key in keys.keys] == ["good"]
    assert keys.ignored == ("1 key ids stand on several keys",)


def test_keys_without_a_name_may_be_many() -> None:
    keys = parse_jwks(a_jwks(a_signer().jwk(kid=None), a_signer("ES256").jwk(kid=None)))
    assert keys.find(None, "EdDSA") is keys.keys[0]
    assert keys.find(None, "ES256") is keys.keys[1]
    assert keys.find(None, "RS256") is None
    assert keys.find("k1", "EdDSA") is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b"\xff\xfe\x00",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[]}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":' * 50_000,
        a_jwks(a_signer().private_jwk()),
        a_jwks({"kty": "oct", "k": "AAAA"}),
        a_jwks(*[GOOD.jwk()] * 65),
        a_jwks(GOOD.jwk(padding="x" * jwks.DOCUMENT_BYTES_MAX)),
    ],
    ids=range(15),
)
def test_a_document_without_usable_keys_is_refused(document: bytes) -> None:
    with pytest.raises(UnusableKeysError, match=r"\w"):
        parse_jwks(document)


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
_members = st.fixed_dictionaries(
    {"kty": st.sampled_from(["OKP", "EC", "RSA", "oct"]) | _plain},
    optional={
        "crv": st.sampled_from(["Ed25519", "P-256"]) | _plain,
        **{name: st.text(max_size=60) | _plain for name in ("x", "y", "n", "e", "kid", "alg")},
    },
)


@given(st.lists(_members | _plain, max_size=4))
def test_no_document_does_more_than_be_refused(members: list[object]) -> None:
    document = json.dumps({"keys": [*members, GOOD.jwk()]}).encode()
    assert isinstance(parse_jwks(document), KeySet)
