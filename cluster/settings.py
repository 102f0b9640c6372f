"""Every switch of the application: read once from the environment, typed, bounded, frozen."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster.constants import (
    CONSTITUTIONAL_HASH,
    DEFAULT_MAX_RETRIES,
    DEFAULT_MESSAGE_TTL_SECONDS,
    DEFAULT_REDIS_DB,
)
from cluster.errors import ConfigurationError
from cluster.store.address import parse_address

# The last two begin the keys that examples and test vectors use, ours included.
PLACEHOLDERS: Final = (
    "changeme",
    "change-me",
    "placeholder",
    "secret",
    "password",
    "todo",
    "00010203",
    "01234567",
)
DEV_ISSUER: Final = "acgs-dev"


class Environment(StrEnum):
    """Where we run; only `dev` may make its own keys and secrets."""

    DEV = "dev"
    STAGING = "staging"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """The settings of one application.

    Names in the environment are `REDIS_URL`, `REDIS_DB`, `CONSTITUTIONAL_HASH`, `ONNX_RUNTIME`,
    `TRANSFORMERS_OFFLINE`, and `ACGS_<FIELD>` for the rest; one that is empty is unset. Raises
    `pydantic.ValidationError`, whose `errors()` still hold what was entered, secrets included:
    where its text may be seen, use `load_settings`.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix="ACGS_",
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,  # else a refused production prints its keys
    )

    env: Environment = Environment.DEV
    constitutional_hash: str = Field(
        CONSTITUTIONAL_HASH, validation_alias=AliasChoices("CONSTITUTIONAL_HASH")
    )
    data_dir: Path = Path(".acgs")

    # The store: an embedded Valkey unless REDIS_URL names a server.
    redis_url: SecretStr | None = Field(None, validation_alias=AliasChoices("REDIS_URL"))
    redis_db: int = Field(DEFAULT_REDIS_DB, ge=0, le=15, validation_alias=AliasChoices("REDIS_DB"))
    store_timeout_ms: int = Field(2000, ge=10, le=60_000)

    # The transformer's runtime; read where the scorer is made.
    onnx_runtime: str = Field("cpu", validation_alias=AliasChoices("ONNX_RUNTIME"))
    transformers_offline: bool = Field(
        default=True, validation_alias=AliasChoices("TRANSFORMERS_OFFLINE")
    )

    # The door.
    http_host: str = "127.0.0.1"
    http_port: int = Field(8000, ge=1, le=65_535)
    gateway_replicas: int = Field(1, ge=1, le=64)
    ongoing_requests_max: int = Field(512, ge=1, le=100_000)
    waiting_requests_max: int = Field(2048, ge=0, le=100_000)
    queued_requests_max: int = Field(1024, ge=0, le=100_000)
    rate_per_agent_s: float = Field(2000.0, gt=0, description="sustained messages/s of one agent")
    rate_burst: int = Field(4000, ge=1)
    public_url: str | None = None  # where people reach the bus: no path, or links would break

    # Identity.
    jwks_url: str | None = None
    jwks_file: Path | None = None
    jwt_issuer: str = Field(DEV_ISSUER, min_length=1)
    jwt_audience: str = Field("acgs", min_length=1)
    jwt_leeway_s: float = Field(30.0, ge=0, le=300)

    # Signing in to the console at an identity provider.
    oidc_issuer: str | None = None
    oidc_client_id: str | None = Field(None, max_length=256)
    oidc_client_secret: SecretStr | None = None  # none: a public client
    oidc_scopes: str = Field("openid", max_length=1024, pattern=r"^[!#-\[\]-~]+( [!#-\[\]-~]+)*$")

    # Policy.
    opa_url: str | None = None
    opa_token: SecretStr | None = None
    opa_revision: str = ""  # what the OPA server must say that it runs; empty: not checked
    policy_dir: Path | None = None
    policy_timeout_ms: int = Field(250, ge=1, le=10_000)

    # The ledger.
    ledger_origin: str = "acgs.local"
    ledger_key: SecretStr | None = None
    wal_key: SecretStr | None = None
    evidence_key: SecretStr | None = None

    # Telling people.
    channels_file: Path | None = None

    # Messages.
    message_ttl_s: int = Field(DEFAULT_MESSAGE_TTL_SECONDS, ge=1, le=7 * 86_400)
    max_retries: int = Field(DEFAULT_MAX_RETRIES, ge=0, le=100)
    replay_window_s: int = Field(86_400, ge=60, le=30 * 86_400)

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"

    @property
    def embedded_store(self) -> bool:
        """True when no `REDIS_URL` names a server, so the app runs its own."""
        return self.redis_url is None

    @field_validator("constitutional_hash")
    @classmethod
    def _is_ours(cls, value: str) -> str:
        if value != CONSTITUTIONAL_HASH:
            message = (
                f"CONSTITUTIONAL_HASH is {value!r}, but this build enforces "
                f"{CONSTITUTIONAL_HASH!r}; unset it or deploy the build that it names"
            )
            raise ValueError(message)
        return value

    @field_validator("data_dir", "jwks_file", "policy_dir", "channels_file")
    @classmethod
    def _is_absolute(cls, value: Path | None) -> Path | None:
        # Ray's workers run in folders of their own.
        return None if value is None else value.expanduser().absolute()

    @field_validator("jwks_url", "opa_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None:
            parts = _split(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("it must begin with https:// or http:// and name a host")
            if parts.username is not None or parts.password is not None:
                raise ValueError("it must not carry a name or password; logs show it")
        return value

    @field_validator("public_url", "oidc_issuer")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(cls._is_http(value) or "")
            if parts.query or parts.fragment:
                raise ValueError("it must have no query and no fragment")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).path not in ("", "/"):
            raise ValueError("it must have no path: the bus answers at the root")
        return None if value is None else value.rstrip("/")

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                parse_address(value.get_secret_value(), db=DEFAULT_REDIS_DB)
            except ConfigurationError as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _is_safe_for_its_environment(self) -> Self:
        problems = []
        if self.jwks_url and self.jwks_file:
            problems.append("set ACGS_JWKS_URL or ACGS_JWKS_FILE, not both: one place says whom")
        problems += self._sign_in()
        if self.env is not Environment.DEV:
            problems += [*self._missing(), *self._placeholders(), *self._unsafe()]
        if problems:
            raise ValueError(f"ACGS_ENV={self.env.value} is refused: " + "; ".join(problems))
        return self

    def _sign_in(self) -> list[str]:
        """Return what keeps people from signing in at the provider that is named."""
        if self.oidc_issuer is None:
            named = self.oidc_client_id is not None or self.oidc_client_secret is not None
            return ["set ACGS_OIDC_ISSUER, or no ACGS_OIDC_* at all"] if named else []
        problems = []
        if self.oidc_client_id is None:
            problems.append("set ACGS_OIDC_CLIENT_ID (this bus at the provider)")
        if self.public_url is None:
            problems.append("set ACGS_PUBLIC_URL (where the provider sends people back to)")
        if not (self.jwks_url or self.jwks_file):
            problems.append("set ACGS_JWKS_URL or ACGS_JWKS_FILE to the keys of ACGS_OIDC_ISSUER")
        if self.jwt_issuer != self.oidc_issuer:
            problems.append("ACGS_JWT_ISSUER must be ACGS_OIDC_ISSUER: its tokens are the sessions")
        if self.oidc_client_id == self.jwt_audience:
            # Its ID tokens, which say who signed in, would pass for access tokens.
            problems.append("ACGS_OIDC_CLIENT_ID must not be ACGS_JWT_AUDIENCE")
        if "openid" not in self.oidc_scopes.split(" "):
            problems.append("ACGS_OIDC_SCOPES must hold openid")
        return problems

    def _missing(self) -> list[str]:
        wanted = {
            "ACGS_JWKS_URL or ACGS_JWKS_FILE (whose tokens to trust)": self.jwks_url
            or self.jwks_file,
            "ACGS_JWT_ISSUER (the `iss` of those tokens)": self.jwt_issuer != DEV_ISSUER,
            "ACGS_LEDGER_KEY (the Ed25519 seed that signs checkpoints)": self.ledger_key,
            "ACGS_WAL_KEY (the key that authenticates write-ahead entries)": self.wal_key,
            "ACGS_EVIDENCE_KEY (the key that wraps the evidence keys)": self.evidence_key,
        }
        return [f"set {name}" for name, value in wanted.items() if not value]

    def _placeholders(self) -> list[str]:
        secrets = {
            "ACGS_LEDGER_KEY": self.ledger_key,
            "ACGS_WAL_KEY": self.wal_key,
            "ACGS_EVIDENCE_KEY": self.evidence_key,
            "ACGS_OPA_TOKEN": self.opa_token,
        }
        return [
            f"{name} is a placeholder, easy to guess, or shorter than 32 characters"
            for name, secret in secrets.items()
            if secret is not None
            and any(_is_placeholder(part.strip()) for part in secret.get_secret_value().split(","))
        ]

    def _unsafe(self) -> list[str]:
        problems = []
        if self.jwks_url and _split(self.jwks_url).scheme != "https":
            problems.append("ACGS_JWKS_URL must be https: who can change the answer can be anybody")
        for name, url in (
            ("ACGS_PUBLIC_URL", self.public_url),
            ("ACGS_OIDC_ISSUER", self.oidc_issuer),
        ):
            if url and _split(url).scheme != "https":
                problems.append(f"{name} must be https: who listens in could sign in")
        if self.oidc_client_secret is not None:
            secret = self.oidc_client_secret.get_secret_value().lower()
            if any(word in secret for word in PLACEHOLDERS):
                problems.append("ACGS_OIDC_CLIENT_SECRET is a placeholder")
        if self.redis_url:
            password = urlsplit(self.redis_url.get_secret_value()).password or ""
            if any(word in password.lower() for word in PLACEHOLDERS):
                problems.append("REDIS_URL carries a placeholder as its password")
        return problems

    def describe(self) -> dict[str, str]:
        """Return every setting under its name in the environment; of a secret only whether."""
        described = {}
        for field in type(self).model_fields:
            value = getattr(self, field)
            if field in _SECRETS:
                value = "unset" if value is None else "set"
            described[_name_outside(field)] = "unset" if value is None else str(value)
        return described


_SECRETS: Final = frozenset(
    name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
)


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises ConfigurationError with a line for each thing that is wrong, and no value of a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{_name_outside(str(problem['loc'][0]))}: {problem['msg']}"
            if problem["loc"]
            else problem["msg"]
            for problem in error.errors(include_input=False, include_context=False)
        ]
    # Outside the handler, so that no traceback leads back to what was entered.
    raise ConfigurationError("\n".join(line.replace("Value error, ", "") for line in lines))


def _name_outside(field: str) -> str:
    known = Settings.model_fields.get(field)
    if known is None:  # pydantic already names a field with an alias by it
        return field
    alias = known.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"ACGS_{field.upper()}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is no number raises only when it is read
    except ValueError:
        raise ValueError("it is not a URL") from None
    return parts


def _is_placeholder(secret: str) -> bool:
    repeats = secret in (secret + secret)[1:-1]
    named = any(word in secret.lower() for word in PLACEHOLDERS)
    return len(secret) < 32 or len(set(secret)) < 8 or repeats or named
