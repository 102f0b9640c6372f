"""A REDIS_URL says where the store is, or is refused without showing its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import ConfigurationError
from cluster.store.address import Address, Host, Kind, Login, Tls, parse_address

_SERVER = Kind.SERVER
_CLUSTER = Kind.CLUSTER


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://store", Address(kind=_SERVER, hosts=(Host("store", 6379),), db=2)),
        ("redis://store:1/5", Address(kind=_SERVER, hosts=(Host("store", 1),), db=5)),
        ("redis://store/0", Address(kind=_SERVER, hosts=(Host("store", 6379),), db=0)),
        ("redis://store?db=7", Address(kind=_SERVER, hosts=(Host("store", 6379),), db=7)),
        ("redis://[::1]:7/0", Address(kind=_SERVER, hosts=(Host("::1", 7),), db=0)),
        (
            "redis://bus:p%40s:s@store/0",
            Address(kind=_SERVER, hosts=(Host("store", 6379),), login=Login("bus", "p@s:s")),
        ),
        (
            "redis://:word@store/0",
            Address(kind=_SERVER, hosts=(Host("store", 6379),), login=Login(None, "word")),
        ),
        (
            "rediss://store/0",
            Address(
                kind=_SERVER,
                hosts=(Host("store", 6379),),
                tls=Tls(ca=None, certificate=None, key=None),
            ),
        ),
        ("unix:///run/a.sock", Address(kind=Kind.SOCKET, path=Path("/run/a.sock"), db=2)),
        (
            "unix://bus:word@/run/a%20b.sock?db=0",
            Address(kind=Kind.SOCKET, path=Path("/run/a b.sock"), login=Login("bus", "word")),
        ),
        (
            "redis+sentinel://a,b:7,[::2]:8/main",
            Address(
                kind=Kind.SENTINEL,
                hosts=(Host("a", 26379), Host("b", 7), Host("::2", 8)),
                service="main",
                db=2,
            ),
        ),
        (
            "rediss+sentinel://bus:word@a/main/0?sentinel_username=s&sentinel_password=%26",
            Address(
                kind=Kind.SENTINEL,
                hosts=(Host("a", 26379),),
                service="main",
                login=Login("bus", "word"),
                sentinel_login=Login("s", "&"),
                tls=Tls(ca=None, certificate=None, key=None),
            ),
        ),
    ],
)
def test_an_address_is_read(url: str, address: Address) -> None:
    assert parse_address(url, db=2) == address


def test_a_cluster_has_nodes_and_one_database() -> None:
    wanted = Address(kind=_CLUSTER, hosts=(Host("a", 7000), Host("b", 6379)))
    assert parse_address("redis+cluster://a:7000,b", db=0) == wanted
    assert parse_address("redis+cluster://a:7000,b/0", db=3) == wanted


def test_files_of_tls_are_named_in_the_query(tmp_path: Path) -> None:
    file = tmp_path / "a.pem"
    file.touch()
    url = f"rediss+cluster://a?ssl_ca_certs={file}&ssl_certfile={file}&ssl_keyfile={file}"
    tls = Tls(ca=str(file), certificate=str(file), key=str(file))
    assert parse_address(url, db=0).tls == tls


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://store", "starts with 'http'"),
        ("redis+other://store", "starts with"),
        ("unix+cluster://store", "starts with"),
        ("store:6379", "starts with 'store'"),
        ("redis://", "has a host that cannot be read"),
        ("redis://a b", "has a host that cannot be read"),
        ("redis://::1", "has a host that cannot be read"),
        ("redis://store:port", "has a host that cannot be read"),
        ("redis://store:70000", "has the port 70000"),
        ("redis://a,b", "names several hosts"),
        ("redis://word@store", "has a user without a password"),
        ("redis://store/x", "has a database that is no number"),
        ("redis://store/1#x", "has a '#'"),
        ("redis://store?ssl_ca_certs=/a.pem", "only rediss speaks TLS"),
        ("rediss://store?ssl_ca_certs=/not/there.pem", "which is no file"),
        ("rediss://store?ssl_cert_reqs=none", "has the query 'ssl_cert_reqs'"),
        ("redis://store?socket_timeout=1", "has the query 'socket_timeout'"),
        ("redis://store?nonsense", "cannot be read as a URL"),
        ("unix://", "needs the path of a socket"),
        ("unix://run/a.sock", "needs the path of a socket"),
        ("redis+sentinel://a", "names no service"),
        ("redis+cluster://a/1", "only 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL ") as caught:
        parse_address(url, db=0)
    assert sentence in str(caught.value)


def test_a_client_certificate_needs_its_key(tmp_path: Path) -> None:
    file = tmp_path / "a.pem"
    file.touch()
    with pytest.raises(ConfigurationError, match="needs both"):
        parse_address(f"rediss://store?ssl_certfile={file}", db=0)


def test_a_cluster_is_refused_with_a_database_of_the_settings() -> None:
    with pytest.raises(ConfigurationError, match="unset REDIS_DB"):
        parse_address("redis+cluster://a", db=1)


@pytest.mark.parametrize(
    "url",
    [
        "redis://bus:hush@store:port",
        "redis://hush@store",
        "redis://bus:hush@a,b",
        "redis://bus:hush@store/x",
        "nope://bus:hush@store",
        "redis+sentinel://bus:hush@store",
        "redis+sentinel://store/main?sentinel_password=hush&x=1",
        "redis://bus:hu#sh@store",
        "redis://[bus:hush@store",
    ],
)
def test_no_secret_is_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_address(url, db=0)
    assert "hu" not in str(caught.value)
    assert caught.value.__cause__ is None
    shown = repr(parse_address("redis+sentinel://b:hush@s/m?sentinel_password=hush", db=0))
    assert "hush" not in shown
