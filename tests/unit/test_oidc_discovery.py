"""What a provider says about itself, what a sign-in is known by, and where it may lead."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest

from cluster.identity.discovery import Metadata, ProviderError, read_metadata
from cluster.identity.oidc import Attempt, access_hash
from serve_app.console.oidc import safe_path

ISSUER = "https://idp.example/realms/acme"
SOUND = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://login.example/authorize",
    "token_endpoint": "https://idp.example/token",
    "jwks_uri": "https://idp.example/keys",
}


def read(**changes: object) -> Metadata:
    return read_metadata(json.dumps({**SOUND, **changes}).encode(), issuer=ISSUER)


def refusal(**changes: object) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        read(**changes)
    assert caught.value.status == 503
    return caught.value


def test_a_sound_document_says_where_to_ask() -> None:
    assert read() == Metadata(
        authorization_endpoint="https://login.example/authorize",
        token_endpoint="https://idp.example/token",
        jwks_uri="https://idp.example/keys",
        names_itself=False,
        posts_secret=False,
    )
    assert read(authorization_response_iss_parameter_supported=True).names_itself
    assert not read(authorization_response_iss_parameter_supported="true").names_itself


@pytest.mark.parametrize(
    ("methods", "posts"),
    [
        (["client_secret_basic"], False),
        (["client_secret_post"], True),
        (["client_secret_post", "client_secret_basic"], False),
        (["private_key_jwt"], False),
    ],
)
def test_the_secret_goes_where_the_provider_wants_it(methods: list[str], *, posts: bool) -> None:
    assert read(token_endpoint_auth_methods_supported=methods).posts_secret is posts


@pytest.mark.parametrize("issuer", ["https://idp.example/realms/acme/", "https://evil.example", 7])
def test_a_document_of_another_issuer_is_refused(issuer: object) -> None:
    assert refusal(issuer=issuer).code == "oidc.issuer_mismatch"


@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint": None},
        {"token_endpoint": "http://idp.example/token"},  # the issuer itself has https
        {"token_endpoint": "https://name:word@idp.example/token"},
        {"token_endpoint": "https://idp.example/token#part"},
        {"token_endpoint": "https://idp.example:port/token"},
        {"token_endpoint": "https://idp.example/" + "t" * 3000},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "//login.example"},
        {"authorization_endpoint": "https://login.example/a b"},
        {"jwks_uri": ["https://idp.example/keys"]},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": "S256"},
        {"response_types_supported": ["id_token"]},
    ],
)
def test_a_document_that_we_cannot_trust_or_use_is_refused(changes: dict[str, object]) -> None:
    assert refusal(**changes).code == "oidc.provider_unusable"


@pytest.mark.parametrize("document", [b"", b"[]", b"{", b'{"issuer":1,"issuer":2}', b"\xff"])
def test_what_is_no_document_is_refused(document: bytes) -> None:
    with pytest.raises(ProviderError, match="not one sound JSON object"):
        read_metadata(document, issuer=ISSUER)


def test_on_a_laptop_a_provider_may_do_without_https() -> None:
    plain = {
        name: value.replace("https", "http").replace("idp.example", "localhost:81")
        for name, value in SOUND.items()
    }
    found = read_metadata(json.dumps(plain).encode(), issuer=plain["issuer"])
    assert found.token_endpoint == "http://localhost:81/token"


def test_the_challenge_is_that_of_the_standard() -> None:
    # RFC 7636, appendix B
    attempt = Attempt(state="s", nonce="n", verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert attempt.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_hash_of_an_access_token_is_that_of_the_standard() -> None:
    # OpenID Connect Core 1.0, appendix A.3
    token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    assert access_hash(token, "RS256") == "77QmUPtjPfzWtF2AnpK9RQ"
    assert len(access_hash(token, "EdDSA")) == 43


def test_what_is_wrong_with_a_provider_survives_a_journey() -> None:
    error = ProviderError("oidc.provider_down", "it did not answer")
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, str(again)) == (error.code, str(error))


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console/reviews/0190-abc",
        "/console/?state=all&words=file+delete",
        "/console/decisions?effect=deny&cursor=a%3D%3D",
    ],
)
def test_after_signing_in_one_goes_on_where_one_wanted_to(path: str) -> None:
    assert safe_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/console",
        "https://evil.example/console/",
        "//evil.example/console/",
        "/console//evil.example",
        "/console/../v1/reviews",
        "/console/%2e%2e/v1/reviews",
        "/console/a%2f..%2f..%2fv1",
        "/console/./x",
        "/console/\\evil.example",
        "/console/\nSet-Cookie:x",
        "/console/x;url=https:evil",
        "/console/é",
        "/console/sign-out",
        "/console/oidc/sign-in?to=/console/",
        "/console/static/x/console.css",
    ],
)
def test_signing_in_leads_nowhere_else(path: str) -> None:
    assert safe_path(path) == "/console/"


def test_the_document_of_the_console_names_every_code() -> None:
    root = Path(__file__).resolve().parents[2]
    sources = [*(root / "cluster/identity").glob("*.py"), root / "serve_app/console/oidc.py"]
    raised = {
        code for path in sources for code in re.findall(r'"(oidc\.[a-z_]+)"', path.read_text())
    }
    events = {"oidc.failed", "oidc.refused"}  # what the log says happened
    listed = re.findall(
        r"^\| `(oidc\.[a-z_]+)` \| \d", (root / "docs/console.md").read_text(), re.MULTILINE
    )
    assert sorted(listed) == sorted(raised - events)
