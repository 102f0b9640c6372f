"""Redis URLs from the environment, with their database and without their secrets."""

from __future__ import annotations

import warnings

import pytest
import redis.asyncio
from redis.asyncio.connection import parse_url

from cluster import redis_config
from cluster.constants import DEFAULT_REDIS_URL
from cluster.errors import ConfigurationError
from cluster.redis_config import RedisConfig, get_redis_url, redacted


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "REDIS_DB", "REDIS_MAX_CONNECTIONS", "REDIS_SOCKET_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)


def test_without_an_environment_it_is_the_default() -> None:
    assert get_redis_url() == RedisConfig.get_url() == DEFAULT_REDIS_URL
    assert get_redis_url(2) == f"{DEFAULT_REDIS_URL}/2"
    assert RedisConfig().get_url(db=2) == f"{DEFAULT_REDIS_URL}/2"


@pytest.mark.parametrize(
    ("url", "db", "expected"),
    [
        ("redis://h:6379", 0, "redis://h:6379"),
        ("redis://h:6379", 2, "redis://h:6379/2"),
        ("redis://h:6379/", 2, "redis://h:6379/2"),
        ("redis://h:6379/1", 2, "redis://h:6379/1"),
        ("redis://h:6379/0", 2, "redis://h:6379/0"),
        ("rediss://h?ssl_cert_reqs=none", 2, "rediss://h/2?ssl_cert_reqs=none"),
        ("redis://h?db=1", 2, "redis://h?db=1"),
        ("redis://u:p%40%2Fw@h:6379", 2, "redis://u:p%40%2Fw@h:6379/2"),
        ("redis://[::1]:6379", 2, "redis://[::1]:6379/2"),
        ("unix:///run/v.sock", 0, "unix:///run/v.sock"),
        ("unix:///run/v.sock", 2, "unix:///run/v.sock?db=2"),
        ("unix:///run/v.sock?db=1", 2, "unix:///run/v.sock?db=1"),
        ("unix://u:p@/run/v.sock?x=1", 2, "unix://u:p@/run/v.sock?x=1&db=2"),
        ("redis+sentinel://a:1,b:2/main", 2, "redis+sentinel://a:1,b:2/main/2"),
        ("redis+sentinel://a:1/main/1", 2, "redis+sentinel://a:1/main/1"),
        ("redis+cluster://a:1,b:2", 0, "redis+cluster://a:1,b:2"),
        ("  redis://h  ", 0, "redis://h"),
        ("", 0, DEFAULT_REDIS_URL),
    ],
)
def test_the_database_is_appended_only_where_there_is_none(  # noqa: PLR0917  # one row
    monkeypatch: pytest.MonkeyPatch, url: str, db: int, expected: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert RedisConfig.get_url(db) == expected


@pytest.mark.parametrize("url", ["redis://h:6379", "rediss://h?timeout=3", "unix:///run/v.sock"])
def test_the_client_finds_the_database_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert parse_url(RedisConfig.get_url(7))["db"] == 7


def test_another_variable_may_hold_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    # The reference raised NameError here.
    monkeypatch.setenv("CACHE_URL", "redis://cache")
    monkeypatch.setenv("REDIS_DB", "3")
    assert RedisConfig.get_url(env_var="CACHE_URL") == "redis://cache"
    assert RedisConfig.get_url(2, env_var="CACHE_URL") == "redis://cache/2"
    assert RedisConfig.get_url(env_var="UNSET_URL") == DEFAULT_REDIS_URL


def test_redis_db_counts_until_a_database_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://h")
    monkeypatch.setenv("REDIS_DB", "3")
    assert get_redis_url() == "redis://h/3"
    assert get_redis_url(2) == "redis://h/2"
    assert redis_config.REDIS_URL == "redis://h"
    assert redis_config.REDIS_URL_WITH_DB == "redis://h/3"


def test_the_connection_parameters_are_the_specifications(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RedisConfig.get_connection_params() == {
        "url": DEFAULT_REDIS_URL,
        "max_connections": 10,
        "socket_timeout": 5.0,
        "socket_connect_timeout": 5.0,
        "retry_on_timeout": True,
    }
    monkeypatch.setenv("REDIS_MAX_CONNECTIONS", "64")
    monkeypatch.setenv("REDIS_SOCKET_TIMEOUT", "0.5")
    params = RedisConfig.get_connection_params(db=2)
    assert (params["max_connections"], params["socket_timeout"]) == (64, 0.5)
    assert params["url"].endswith("/2")


def test_a_client_takes_the_connection_parameters() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of retry_on_timeout, which is asked
        client = redis.asyncio.from_url(**RedisConfig.get_connection_params())
        connection = client.connection_pool.make_connection()
    assert connection.socket_timeout == 5.0


@pytest.mark.parametrize(
    "url",
    [
        "host:6379",
        "http://:hunter2@h",
        "redis://:hunter2/x@h:6379",
        "redis://:hunter2#x@h",
        "redis://:hunter2?x@h",
        "redis://[:hunter2",
        "redis://u:hunter2@h/database",
        "redis://u:hunter2@h/1/2",
        "redis+sentinel://u:hunter2@h",
        "redis+cluster://u:hunter2@h",
    ],
)
def test_what_cannot_be_meant_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL ") as caught:
        RedisConfig.get_url(2)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in redacted(url)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_DB", "one"),
        ("REDIS_DB", "-1"),
        ("REDIS_DB", "1.5"),
        ("REDIS_SOCKET_TIMEOUT", "nan"),
        ("REDIS_SOCKET_TIMEOUT", "0"),
        ("REDIS_MAX_CONNECTIONS", "many"),
    ],
)
def test_a_figure_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        RedisConfig.get_connection_params()


def test_a_negative_database_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        RedisConfig.get_url(-1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/1", "redis://h:6379/1"),
        ("redis://user:hunter2@h:6379/1", "redis://***@h:6379/1"),
        ("rediss://:hun@ter2@h", "rediss://***@h"),
        ("unix://u:hunter2@/run/v.sock?db=1", "unix://***@/run/v.sock?***"),
        ("unix:///run/v.sock?password=hunter2", "unix:///run/v.sock?***"),
        ("redis+sentinel://u:hunter2@a:1,b:2/main", "redis+sentinel://***@a:1,b:2/main"),
        ("redis://:hunter2", "***"),
        (":hunter2@h", "***"),
    ],
)
def test_a_log_shows_where_and_never_who(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="REDIS_UR"):
        _ = redis_config.REDIS_UR
