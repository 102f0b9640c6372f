"""The session's environment: nothing of one bus is shared with another on the same machine."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from cluster import session
from cluster.errors import ConfigurationError
from cluster.settings import Settings


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in session.environment(Settings(data_dir=Path("/nowhere"))):
        monkeypatch.delenv(name, raising=False)


def a_bus(folder: Path, *, http_port: int = 8000) -> Settings:
    return Settings(data_dir=folder, http_port=http_port)


def block(environment: dict[str, str]) -> range:
    first = int(environment["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"])
    return range(first, int(environment["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"]) + 1)


def test_two_buses_share_no_port_no_socket_and_no_file(tmp_path: Path) -> None:
    one = session.environment(a_bus(tmp_path / "one"))
    with socket.socket() as replica:
        replica.bind(("127.0.0.1", block(one)[0]))
        two = session.environment(a_bus(tmp_path / "two"))
    assert set(block(one)).isdisjoint(block(two))
    shared = {name for name in one if one[name] == two[name]}
    assert not any("_PORT" in name or "_PATH" in name or "_FILE" in name for name in shared)


def test_a_block_in_which_somebody_listens_is_left_to_him(tmp_path: Path) -> None:
    before = block(session.environment(a_bus(tmp_path)))
    with socket.socket() as other:
        other.bind(("127.0.0.1", before[3]))
        other.listen()
        after = block(session.environment(a_bus(tmp_path)))
    assert before[3] not in after


def test_what_the_operator_set_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_STATS_PORT", "8404")
    assert session.environment(a_bus(tmp_path))["RAY_SERVE_HAPROXY_STATS_PORT"] == "8404"


def test_the_admin_socket_of_haproxy_is_short_enough_and_in_a_private_folder(
    tmp_path: Path,
) -> None:
    settings = a_bus(tmp_path / ("long" * 40))
    wanted = session.environment(settings)["RAY_SERVE_HAPROXY_SOCKET_PATH"]
    # Serve puts a node id of 56 digits in between, and HAProxy binds `<path>.<pid>.tmp` first.
    assert len(wanted) + 57 + len(".4194304.tmp") < 108
    folder = session.socket_folder(settings)
    assert Path(wanted).parent == folder
    session.make_socket_folder(settings)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.rmdir()


def test_a_data_folder_belongs_to_one_bus_at_a_time(tmp_path: Path) -> None:
    settings = a_bus(tmp_path)
    with session.sole(settings):
        with pytest.raises(ConfigurationError, match=r"another bus \(process \d+\) runs on"):
            session.sole(settings).__enter__()
        with session.sole(a_bus(tmp_path / "another")):
            pass
    with session.sole(settings):
        pass


def test_a_port_that_is_taken_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1 is taken"):
            session.require_port(a_bus(tmp_path, http_port=port))
    session.require_port(a_bus(tmp_path, http_port=port))
