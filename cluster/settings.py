"""Every switch of the application: read once from the environment, typed, bounded, frozen."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cluster.constants import (
    CONSTITUTIONAL_HASH,
    DEFAULT_MAX_RETRIES,
    DEFAULT_MESSAGE_TTL_SECONDS,
    DEFAULT_REDIS_DB,
)

PLACEHOLDERS = ("changeme", "change-me", "placeholder", "dev-secret", "secret", "password", "todo")


class Environment(StrEnum):
    """Where we run; only `dev` may make its own keys and secrets."""

    DEV = "dev"
    STAGING = "staging"
    PRODUCTION = "production"


class Settings(BaseSettings):
    """The settings of one application.

    Names in the environment are `REDIS_URL`, `REDIS_DB`, `CONSTITUTIONAL_HASH`, `ONNX_RUNTIME`,
    `TRANSFORMERS_OFFLINE`, and `ACGS_<FIELD>` for the rest. Raises `pydantic.ValidationError`
    with one sentence for each thing that is wrong.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="ACGS_", extra="ignore")

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
    queued_requests_max: int = Field(1024, ge=0, le=100_000)
    rate_per_agent_s: float = Field(2000.0, gt=0, description="sustained messages/s of one agent")
    rate_burst: int = Field(4000, ge=1)

    # Identity.
    jwks_url: str | None = None
    jwks_file: Path | None = None
    jwt_issuer: str = "acgs-dev"
    jwt_audience: str = "acgs"
    jwt_leeway_s: float = Field(30.0, ge=0, le=300)

    # Policy.
    opa_url: str | None = None
    opa_token: SecretStr | None = None
    policy_dir: Path | None = None
    policy_timeout_ms: int = Field(250, ge=1, le=10_000)

    # The ledger.
    ledger_origin: str = "acgs.local"
    ledger_key: SecretStr | None = None
    wal_key: SecretStr | None = None
    evidence_key: SecretStr | None = None

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

    @field_validator("data_dir")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _is_safe_for_its_environment(self) -> Self:
        if self.env is Environment.DEV:
            return self
        problems = [*self._missing(), *self._placeholders()]
        if problems:
            raise ValueError(f"ACGS_ENV={self.env.value} is refused: " + "; ".join(problems))
        return self

    def _missing(self) -> list[str]:
        wanted = {
            "ACGS_JWKS_URL or ACGS_JWKS_FILE (whose tokens to trust)": self.jwks_url
            or self.jwks_file,
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
            f"{name} is a placeholder or shorter than 32 characters"
            for name, secret in secrets.items()
            if secret is not None and _is_placeholder(secret.get_secret_value())
        ]


def _is_placeholder(secret: str) -> bool:
    return len(secret) < 32 or any(word in secret.lower() for word in PLACEHOLDERS)
