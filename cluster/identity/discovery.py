"""What an identity provider says about itself (OpenID Connect Discovery), read with suspicion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from policies.errors import DependencyError
from policies.strict_json import read_object

WELL_KNOWN: Final = "/.well-known/openid-configuration"
_URL_MAX: Final = 2048
_BASIC: Final = "client_secret_basic"
_POST: Final = "client_secret_post"


class ProviderError(DependencyError):
    """The identity provider is down, or says what cannot be right: nobody signs in with it now."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__("oidc", detail)
        self.args = (code, detail)
        self.code = code

    def __str__(self) -> str:
        return f"your identity provider cannot sign you in now: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """Where to ask a provider for what.

    `names_itself` says that it sends `iss` back with each code (RFC 9207), `posts_secret` that a
    client's secret goes into the form and not into a header.
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_itself: bool
    posts_secret: bool


def read_metadata(document: bytes, *, issuer: str) -> Metadata:
    """Return what a discovery document says, if it is this issuer's and we can work with it.

    Raises ProviderError: `oidc.issuer_mismatch` for another's, `oidc.provider_unusable` for one
    that cannot be used. What the issuer has over https, its endpoints must have too.
    """
    try:
        said = read_object(document)
    except ValueError:
        raise _unusable("its discovery document is not one sound JSON object") from None
    if said.get("issuer") != issuer:
        raise ProviderError("oidc.issuer_mismatch", "it calls itself by another name")
    # Left out does not mean that it has none: several large providers do not list them.
    if "S256" not in _listed(said, "code_challenge_methods_supported", ["S256"]):
        raise _unusable("it does not do PKCE with S256")
    if "code" not in _listed(said, "response_types_supported", ["code"]):
        raise _unusable("it does not do the authorization code flow")
    methods = _listed(said, "token_endpoint_auth_methods_supported", [_BASIC])
    return Metadata(
        authorization_endpoint=_endpoint(said, "authorization_endpoint", issuer),
        token_endpoint=_endpoint(said, "token_endpoint", issuer),
        jwks_uri=_endpoint(said, "jwks_uri", issuer),
        names_itself=said.get("authorization_response_iss_parameter_supported") is True,
        posts_secret=_BASIC not in methods and _POST in methods,
    )


def _listed(said: Mapping[str, Any], name: str, default: list[str]) -> list[object]:
    value = said.get(name, default)
    if not isinstance(value, list):
        raise _unusable(f"its {name} is no list")
    return value


def _endpoint(said: Mapping[str, Any], name: str, issuer: str) -> str:
    url = said.get(name)
    if not isinstance(url, str) or not (url.isascii() and url.isprintable()) or " " in url:
        raise _unusable(f"its {name} is no address")
    try:
        parts = urlsplit(url)
        _ = parts.port  # one that is no number raises only when it is read
    except ValueError:
        raise _unusable(f"its {name} is no address") from None
    schemes = {"https"} if urlsplit(issuer).scheme == "https" else {"https", "http"}
    sound = parts.scheme in schemes and parts.hostname and parts.username is None
    if not sound or parts.fragment or len(url) > _URL_MAX:
        raise _unusable(f"its {name} is none that we would send a code to")
    return url


def _unusable(detail: str) -> ProviderError:
    return ProviderError("oidc.provider_unusable", detail)
