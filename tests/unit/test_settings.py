"""Settings are read once, refuse what is unsafe in readable words, and show no secret."""

import os
import pickle
import secrets
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.constants import CONSTITUTIONAL_HASH
from cluster.errors import ConfigurationError
from cluster.settings import PLACEHOLDERS, Environment, Settings, load_settings

# Sound and fixed; secrets.token_hex(32) made them for this test.
LEDGER = "c1f0b7d29e4a865313ab7cd04e88f2659b70da3c14e6f7a258903b1dcefa4706"
WAL = "5ad93e07b1c4682ff07e51c9da8364b2e70f9528c6d1ab4730ef8219d5bc6a43"
EVIDENCE = "8e21f5c9037bd6a4914fe0c82a75bd369cf10e48d7a3526bb8f4097de1c5a360"
SOUND = {
    "ACGS_ENV": "production",
    "ACGS_JWKS_URL": "https://idp.example/keys",
    "ACGS_JWT_ISSUER": "https://idp.example",
    "ACGS_LEDGER_KEY": LEDGER,
    "ACGS_WAL_KEY": WAL,
    "ACGS_EVIDENCE_KEY": EVIDENCE,
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("ACGS_", "REDIS_", "CONSTITUTIONAL_", "ONNX_", "TRANSFORM")):
            monkeypatch.delenv(name)


def _load(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def _refusal(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        _load(monkeypatch, environment)
    return str(caught.value)


def test_nothing_set_is_a_laptop() -> None:
    settings = load_settings()
    assert settings.env is Environment.DEV
    assert settings.embedded_store
    assert settings.constitutional_hash == CONSTITUTIONAL_HASH
    assert settings.data_dir == Path.cwd() / ".acgs"


def test_the_names_of_the_specification_need_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(
        monkeypatch,
        {
            "REDIS_URL": "redis://store:6380",
            "REDIS_DB": "3",
            "ONNX_RUNTIME": "cuda",
            "TRANSFORMERS_OFFLINE": "0",
            "CONSTITUTIONAL_HASH": CONSTITUTIONAL_HASH,
            "ACGS_HTTP_PORT": "9000",
        },
    )
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://store:6380"
    assert not settings.embedded_store
    assert (settings.redis_db, settings.onnx_runtime) == (3, "cuda")
    assert (settings.transformers_offline, settings.http_port) == (False, 9000)


@pytest.mark.parametrize("name", ["REDIS_URL", "ACGS_JWKS_URL", "ACGS_JWKS_FILE", "ACGS_WAL_KEY"])
def test_an_empty_name_is_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert _load(monkeypatch, {name: ""}) == load_settings()
    assert load_settings().embedded_store


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings().http_port = 1


@pytest.mark.parametrize("env", ["production", "staging"])
def test_a_sound_production_is_accepted(monkeypatch: pytest.MonkeyPatch, env: str) -> None:
    settings = _load(monkeypatch, {**SOUND, "ACGS_ENV": env})
    assert settings.env.value == env


def test_fresh_keys_are_never_taken_for_placeholders(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(200):
        seeds = ",".join(secrets.token_hex(32) for _ in range(3))
        _load(monkeypatch, {**SOUND, "ACGS_LEDGER_KEY": seeds})


@pytest.mark.parametrize("env", ["production", "staging"])
def test_a_production_with_nothing_says_all_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, env: str
) -> None:
    refusal = _refusal(monkeypatch, {"ACGS_ENV": env})
    assert refusal.startswith(f"ACGS_ENV={env} is refused: ")
    for name in SOUND.keys() - {"ACGS_ENV"}:
        assert name in refusal


@pytest.mark.parametrize("name", sorted(SOUND.keys() - {"ACGS_ENV"}))
@pytest.mark.parametrize("empty", [True, False])
def test_each_missing_piece_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, *, empty: bool
) -> None:
    rest = {key: value for key, value in SOUND.items() if key != name}
    assert f"set {name}" in _refusal(monkeypatch, {**rest, name: ""} if empty else rest)


@pytest.mark.parametrize(
    "weak",
    [
        *(f"{word}-{LEDGER}" for word in PLACEHOLDERS),
        "CHANGEME" * 8,
        LEDGER[:31],
        "0" * 64,
        "ab" * 32,
        "deadbeef" * 8,
        "0123456789abcdef" * 4,
        bytes(range(32)).hex(),
        f"{LEDGER},{'0' * 64}",
        f"{LEDGER},",
    ],
)
def test_defect_18_a_placeholder_is_refused_by_name_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, weak: str
) -> None:
    refusal = _refusal(monkeypatch, {**SOUND, "ACGS_LEDGER_KEY": weak})
    assert "ACGS_LEDGER_KEY is a placeholder" in refusal
    assert weak not in refusal


def test_a_laptop_may_use_weak_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _load(monkeypatch, {"ACGS_WAL_KEY": "changeme"}).wal_key is not None


@pytest.mark.parametrize("other", ["0" * 16, "CDD01EF066BC6CF2", "cdd01ef066bc6cf2 "])
def test_a_hash_that_is_not_ours_is_refused_everywhere(
    monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    refusal = _refusal(monkeypatch, {"CONSTITUTIONAL_HASH": other})
    assert refusal.startswith("CONSTITUTIONAL_HASH: ")
    assert CONSTITUTIONAL_HASH in refusal


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACGS_ENV", "prod"),
        ("ACGS_HTTP_PORT", "0"),
        ("ACGS_HTTP_PORT", "http"),
        ("REDIS_DB", "16"),
        ("REDIS_URL", "http://store"),
        ("REDIS_URL", "store:6379"),
        ("REDIS_URL", "redis://store:x"),
        ("ACGS_JWKS_URL", "ftp://idp/keys"),
        ("ACGS_JWKS_URL", "file:///etc/passwd"),
        ("ACGS_JWKS_URL", "https://"),
        ("ACGS_JWKS_URL", "https://user:pass@idp/keys"),
        ("ACGS_JWKS_URL", "http://[::1/keys"),
        ("ACGS_OPA_URL", "opa:8181"),
        ("ACGS_JWT_LEEWAY_S", "301"),
        ("ACGS_JWT_LEEWAY_S", "nan"),
        ("ACGS_LOG_LEVEL", "loud"),
    ],
)
def test_what_is_wrong_is_told_under_its_name_outside(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    refusal = _refusal(monkeypatch, {name: value})
    assert refusal.startswith(f"{name}: ")
    assert "\n" not in refusal
    assert "pydantic" not in refusal


def test_each_wrong_thing_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = _refusal(monkeypatch, {"ACGS_HTTP_PORT": "0", "REDIS_DB": "16"})
    assert sorted(line.split(":")[0] for line in refusal.splitlines()) == [
        "ACGS_HTTP_PORT",
        "REDIS_DB",
    ]


def test_whose_tokens_to_trust_stands_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"ACGS_JWKS_URL": "https://idp.example/keys", "ACGS_JWKS_FILE": "keys.json"}
    assert "not both" in _refusal(monkeypatch, both)


def test_production_fetches_keys_only_where_nobody_can_change_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = {**SOUND, "ACGS_JWKS_URL": "http://idp.example/keys"}
    assert "must be https" in _refusal(monkeypatch, plain)


def test_production_refuses_a_placeholder_inside_redis_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = _refusal(monkeypatch, {**SOUND, "REDIS_URL": "redis://:ChangeMe9@store:6379"})
    assert "REDIS_URL carries a placeholder" in refusal
    assert "ChangeMe9" not in refusal


OIDC = {
    "ACGS_OIDC_ISSUER": "https://idp.example",
    "ACGS_OIDC_CLIENT_ID": "console",
    "ACGS_OIDC_CLIENT_SECRET": "b7Xq0aTz91LmVw3Ke8",
    "ACGS_PUBLIC_URL": "https://bus.example/",
}


def test_people_sign_in_at_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, {**SOUND, **OIDC})
    assert settings.public_url == "https://bus.example"
    assert (settings.oidc_client_id, settings.oidc_scopes) == ("console", "openid")
    assert "b7Xq0aTz91LmVw3Ke8" not in repr(settings) + str(settings.describe())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ACGS_OIDC_ISSUER": ""}, "set ACGS_OIDC_ISSUER"),
        ({"ACGS_OIDC_CLIENT_ID": ""}, "set ACGS_OIDC_CLIENT_ID"),
        ({"ACGS_PUBLIC_URL": ""}, "set ACGS_PUBLIC_URL"),
        ({"ACGS_JWKS_URL": ""}, "set ACGS_JWKS_URL or ACGS_JWKS_FILE to the keys"),
        ({"ACGS_OIDC_ISSUER": "https://other.example"}, "must be ACGS_OIDC_ISSUER"),
        ({"ACGS_OIDC_CLIENT_ID": "acgs"}, "must not be ACGS_JWT_AUDIENCE"),
        ({"ACGS_OIDC_SCOPES": "profile"}, "must hold openid"),
        ({"ACGS_OIDC_SCOPES": "openid  profile"}, "ACGS_OIDC_SCOPES"),
        ({"ACGS_PUBLIC_URL": "https://bus.example/acgs"}, "no path"),
        ({"ACGS_PUBLIC_URL": "https://bus.example?x"}, "no query"),
        ({"ACGS_PUBLIC_URL": "http://bus.example"}, "ACGS_PUBLIC_URL must be https"),
        (
            {"ACGS_OIDC_ISSUER": "http://idp.example", "ACGS_JWT_ISSUER": "http://idp.example"},
            "ACGS_OIDC_ISSUER must be https",
        ),
        ({"ACGS_OIDC_CLIENT_SECRET": "changeme-changeme"}, "CLIENT_SECRET is a placeholder"),
    ],
)
def test_a_sign_in_that_could_not_work_or_be_trusted_is_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], said: str
) -> None:
    refusal = _refusal(monkeypatch, {**SOUND, **OIDC, **changes})
    assert said in refusal
    assert "changeme-changeme" not in refusal


def test_paths_are_absolute_because_workers_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"ACGS_DATA_DIR": "d", "ACGS_JWKS_FILE": "k.json", "ACGS_POLICY_DIR": "~/p"}
    settings = _load(monkeypatch, paths)
    for path in (settings.data_dir, settings.jwks_file, settings.policy_dir):
        assert path is not None
        assert path.is_absolute()


_HIDDEN = {
    "ACGS_LEDGER_KEY": LEDGER,
    "ACGS_WAL_KEY": WAL,
    "ACGS_EVIDENCE_KEY": EVIDENCE,
    "ACGS_OPA_TOKEN": "b7Xq0aTz91LmVw3Ke8RnYc5Hd2Jf6Ps4",
    "REDIS_URL": "redis://bus:R7pQ2vX9@store:6379",
}


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, {**SOUND, **_HIDDEN})
    shown = repr(settings) + str(settings) + str(settings.describe()) + str(settings.model_dump())
    for secret in _HIDDEN.values():
        assert secret not in shown
    assert "R7pQ2vX9" not in shown


def test_a_refusal_shows_no_secret_either(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**SOUND, **_HIDDEN, "ACGS_JWKS_URL": "", "ACGS_HTTP_PORT": "70000"}
    with pytest.raises(ConfigurationError) as caught:
        _load(monkeypatch, wrong)
    told = "".join(traceback.format_exception(caught.value))
    monkeypatch.setenv("ACGS_HTTP_PORT", "8000")
    with pytest.raises(ValidationError) as raw:
        Settings()
    told += str(raw.value)
    for secret in _HIDDEN.values():
        assert secret[-20:] not in told
    assert caught.value.__context__ is None


def test_settings_describe_themselves_for_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    described = _load(monkeypatch, {**SOUND, "REDIS_DB": "2"}).describe()
    assert described["ACGS_ENV"] == "production"
    assert described["REDIS_DB"] == "2"
    assert described["REDIS_URL"] == "unset"
    assert described["ACGS_WAL_KEY"] == "set"
    assert described["ACGS_JWKS_FILE"] == "unset"
    assert len(described) == len(Settings.model_fields)


def test_settings_travel_between_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, SOUND)
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one:26379,two:26379/main/0",
        "redis+cluster://one:6379,two:6379",
        "unix:///run/redis.sock",
    ],
)
def test_every_kind_of_store_that_can_be_opened_can_be_set(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    settings = load_settings()
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == url
