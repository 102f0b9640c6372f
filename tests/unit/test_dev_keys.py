"""A laptop is its own identity provider; nothing else is."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from token_builders import a_jwks, a_signer

from cluster.errors import ConfigurationError
from cluster.identity.devkeys import dev_key_set, may_mint, mint_token
from cluster.identity.sources import FileKeys
from cluster.identity.url_keys import UrlKeys
from cluster.identity.verifier import TokenVerifier, open_verifier
from cluster.settings import Environment, Settings
from policies.controls import Controls
from policies.errors import RefusalError
from policies.principal import Principal
from policies.roles import ROLE_SCOPES

from builders import NOW
from fakes import FakeClock


def _laptop(folder: Path, **changes: object) -> Settings:
    return Settings(data_dir=folder).model_copy(update=changes)


def _open(settings: Settings) -> TokenVerifier:
    return open_verifier(settings, clock=FakeClock(), controls=Controls)


def _mint(settings: Settings, **changes: Any) -> str:
    asked: dict[str, Any] = {"tenant": "acme", "agent": "writer", "roles": ["agent"], "ttl_s": 3600}
    return mint_token(settings, **{**asked, **changes}, now=NOW)


def test_a_minted_token_is_believed(tmp_path: Path) -> None:
    settings = _laptop(tmp_path)
    principal = asyncio.run(_open(settings).verify(_mint(settings), NOW))
    assert (principal.tenant, principal.agent) == ("acme", "writer")
    assert principal.roles == {"agent"}
    assert principal.scopes == ROLE_SCOPES["agent"]
    assert principal.expires_at_s == NOW.timestamp() + 3600


@pytest.mark.parametrize("role", sorted(ROLE_SCOPES))
def test_every_role_can_be_minted(tmp_path: Path, role: str) -> None:
    settings = _laptop(tmp_path)
    principal = asyncio.run(_open(settings).verify(_mint(settings, roles=(role,)), NOW))
    assert principal.scopes == ROLE_SCOPES[role]


def test_scopes_narrow(tmp_path: Path) -> None:
    settings = _laptop(tmp_path)
    token = _mint(settings, scopes=["decisions:read"])
    assert asyncio.run(_open(settings).verify(token, NOW)).scopes == {"decisions:read"}
    token = _mint(settings, scopes=[])
    assert asyncio.run(_open(settings).verify(token, NOW)).scopes == frozenset()


def test_a_minted_token_may_say_who_answers_for_the_agent(tmp_path: Path) -> None:
    settings = _laptop(tmp_path)

    def owner(token: str) -> str | None:
        return asyncio.run(_open(settings).verify(token, NOW)).owner

    assert owner(_mint(settings, owner="olga")) == "olga"
    assert owner(_mint(settings)) is None
    assert "owner" not in jwt.decode(_mint(settings), options={"verify_signature": False})


def test_each_token_has_a_name_of_its_own(tmp_path: Path) -> None:
    settings = _laptop(tmp_path)

    def proved(token: str) -> Principal:
        return asyncio.run(_open(settings).verify(token, NOW))

    assert proved(_mint(settings)).token_id != proved(_mint(settings)).token_id


def test_a_minted_token_ends(tmp_path: Path) -> None:
    settings = _laptop(tmp_path)
    token = _mint(settings, ttl_s=60)
    with pytest.raises(RefusalError, match="expired"):
        asyncio.run(_open(settings).verify(token, NOW + timedelta(seconds=60)))


def test_another_laptop_does_not_believe_it(tmp_path: Path) -> None:
    token = _mint(_laptop(tmp_path / "mine"))
    with pytest.raises(RefusalError) as caught:
        asyncio.run(_open(_laptop(tmp_path / "yours")).verify(token, NOW))
    assert caught.value.code == "auth.unknown_key"


def test_the_key_outlives_the_process_and_its_name_is_its_thumbprint(tmp_path: Path) -> None:
    kids = [dev_key_set(_laptop(tmp_path)).keys[0].kid for _ in range(2)]
    assert kids[0] == kids[1] == jwt.get_unverified_header(_mint(_laptop(tmp_path)))["kid"]
    assert (tmp_path / "keys" / "identity.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "changes",
    [
        {"env": Environment.PRODUCTION},
        {"env": Environment.STAGING},
        {"jwks_url": "https://idp.example/keys"},
        {"jwks_file": Path("keys.json")},
    ],
    ids=["production", "staging", "url", "file"],
)
def test_nothing_is_minted_where_somebody_else_is_the_provider(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    settings = _laptop(tmp_path, **changes)
    assert not may_mint(settings)
    with pytest.raises(ConfigurationError, match="identity provider"):
        _mint(settings)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tenant": "ACME"}, "tenant must match"),
        ({"agent": "a"}, "sub must match"),
        ({"owner": ""}, "owner must match"),
        ({"owner": "Olga"}, "owner must match"),
        ({"roles": []}, "a role is one of"),
        ({"roles": ["root"]}, "got \\['root'\\]"),
        ({"roles": "agent"}, "a role is one of"),
        ({"scopes": ["tenants:admin"]}, "do not carry \\['tenants:admin'\\]"),
        ({"scopes": ["messages:send", "*"]}, "do not carry"),
        ({"ttl_s": 0}, "lives 1 to"),
        ({"ttl_s": -60}, "lives 1 to"),
        ({"ttl_s": 31 * 86_400}, "lives 1 to"),
        ({"ttl_s": float("nan")}, "lives 1 to"),
        ({"ttl_s": float("inf")}, "lives 1 to"),
    ],
    ids=range(14),
)
def test_a_token_that_would_not_be_believed_as_asked_is_not_minted(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        _mint(_laptop(tmp_path), **changes)


_EC_PEM = b"""-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize("content", [b"", b"junk", _EC_PEM], ids=["empty", "junk", "other"])
def test_a_damaged_key_is_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    settings = _laptop(tmp_path)
    _mint(settings)
    key = tmp_path / "keys" / "identity.pem"
    key.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"identity\.pem is not an Ed25519 key"):
        _mint(settings)
    assert key.read_bytes() == content


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as forms

    settings = _laptop(tmp_path)
    _mint(settings)
    pem = a_signer("ES256").private.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()
    )
    (tmp_path / "keys" / "identity.pem").write_bytes(pem)
    with pytest.raises(ConfigurationError, match="not an Ed25519 key"):
        _mint(settings)


def test_the_settings_choose_the_provider(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(a_jwks(a_signer().jwk()))
    by_file = _open(_laptop(tmp_path, jwks_file=file, jwt_issuer="https://idp.example"))
    assert isinstance(by_file._source, FileKeys)
    assert asyncio.run(by_file.verify(a_signer().token(), NOW)).agent == "writer"
    by_url = _open(_laptop(tmp_path, jwks_url="https://idp.example/keys"))
    assert isinstance(by_url._source, UrlKeys)
    asyncio.run(by_url.close())


def test_nobody_is_trusted_by_default_outside_dev(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nobody's tokens"):
        _open(_laptop(tmp_path, env=Environment.PRODUCTION))
