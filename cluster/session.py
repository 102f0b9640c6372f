"""The Ray session that we run in: started for a laptop, joined in a cluster, ended cleanly."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cluster.errors import ConfigurationError
from cluster.settings import Environment, Settings
from cluster.store.folder import make_private

NAMESPACE: Final = "acgs"

# Ray reads these when it is imported, in every process; they must be set before that.
_DEFAULTS: Final = {
    # HAProxy in front of direct ingress: ten times the default Python proxy (docs/adr/0011).
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # Traffic itself takes a dead replica out of rotation (three refused connections), and while
    # none is left Serve's own proxy holds requests until one is back. The checks are for a replica
    # that hangs; the interval is also their deadline, so it must outlast a busy moment.
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "2s",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_FASTINTER": "1s",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_DOWNINTER": "250ms",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    # Our code and Ray's share one event loop: two would pass the GIL back and forth (ADR 0011).
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    # A busy laptop takes longer than Serve's 5 s to bring HAProxy up; it would be started over.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
    "RAY_raylet_start_wait_time_s": "180",
}

# Two buses on one machine must not share a port: HAProxy would send the requests of one, tokens
# and all, to the fallback proxy of the other, or to a replica that took over a dead one's port.
_PORTS: Final = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
_BLOCK: Final = 64  # ports for the replicas of one bus: each new one takes another
_BLOCKS_FROM: Final = 20_000  # above Ray's workers, below what the kernel gives to clients
_BLOCKS: Final = 190
_SOCKETS: Final = Path("/tmp")  # noqa: S108  # a private folder inside; socket paths must be short


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment that Ray wants here; what is already set wins."""
    folder = settings.data_dir / "run" / "haproxy"
    sockets = socket_folder(settings)
    replicas_from = _port_block(settings)
    wanted = {
        **_DEFAULTS,
        "RAY_AUTH_MODE": "disabled" if settings.env is Environment.DEV else "token",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(sockets / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(sockets / "metrics.sock"),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(replicas_from),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(replicas_from + _BLOCK - 1),
    }
    for name in _PORTS:
        wanted[name] = os.environ.get(name) or str(free_port())
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def socket_folder(settings: Settings) -> Path:
    """Where the HAProxy of this data folder is commanded."""
    return _SOCKETS / f"acgs-{os.getuid()}" / _name(settings)[:6]


def make_socket_folder(settings: Settings) -> None:
    """Make that folder, closed to other users: HAProxy itself opens its socket to everybody."""
    folder = socket_folder(settings)
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)
        make_private(each)


def _port_block(settings: Settings) -> int:
    """Return the first of the ports for replicas: a block of our own where nobody listens."""
    first = int(_name(settings), 16)
    for number in range(first, first + _BLOCKS):
        start = _BLOCKS_FROM + number % _BLOCKS * _BLOCK
        if all(_is_free(port) for port in range(start, start + _BLOCK)):
            return start
    raise ConfigurationError(
        "no block of free TCP ports is left for replicas; set "
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT and RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"
    )


def _is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _name(settings: Settings) -> str:
    return sha256(os.fsencode(settings.data_dir)).hexdigest()


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return what each of our workers must find in its environment before it imports anything."""
    return {
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_dir(settings)),
    }


def metrics_dir(settings: Settings) -> Path:
    """Where the processes of this node keep their counters."""
    return settings.data_dir / "run" / "metrics"


@contextmanager
def sole(settings: Settings) -> Iterator[None]:
    """Hold the data folder for this bus; the kernel frees it when the process ends, however.

    Raises ConfigurationError when another bus runs on it.
    """
    lock = settings.data_dir / "run" / "bus.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigurationError(
                f"another bus (process {file.read().strip() or 'unknown'}) runs on "
                f"{settings.data_dir}; stop it, or give this one another ACGS_DATA_DIR"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def require_port(settings: Settings) -> None:
    """Return if the port of the API is free; raises ConfigurationError when it is taken."""
    if not _is_free(settings.http_port, settings.http_host):
        raise ConfigurationError(
            f"port {settings.http_port} of {settings.http_host} is taken; stop who listens there, "
            "or set another ACGS_HTTP_PORT"
        )


def start(settings: Settings, *, options: Mapping[str, Any] | None = None) -> str:
    """Start a local Ray, or join the one that RAY_ADDRESS names; return its dashboard's address.

    Must run before anything imports `ray`. `options` go to `ray.init`.
    """
    os.environ.update(environment(settings))
    make_socket_folder(settings)
    import ray  # noqa: PLC0415  # Ray reads its environment when it is imported

    defaults: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
    }
    context = ray.init(**{**defaults, **(options or {})})
    return str(context.dashboard_url or "")


def stop() -> None:
    """Leave the session; a local Ray ends with its driver. `ray stop` would end others' too."""
    import ray  # noqa: PLC0415  # see start

    ray.shutdown()
