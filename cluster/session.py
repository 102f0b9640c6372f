"""The Ray session that we run in: started for a laptop, joined in a cluster, ended cleanly."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cluster.settings import Environment, Settings

NAMESPACE: Final = "acgs"

# Ray reads these when it is imported, in every process; they must be set before that.
_DEFAULTS: Final = {
    # HAProxy in front of direct ingress: ten times the default Python proxy (docs/adr/0011).
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # A dead replica is out of rotation after two failed checks, 250 ms apart.
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "500ms",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    # Our code and Ray's share one event loop: no hop between threads for each request.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_raylet_start_wait_time_s": "180",
}


# HAProxy's statistics and metrics; free ones, so that two buses on one machine do not collide.
_PORTS: Final = ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT")


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment that Ray wants here; what is already set wins."""
    folder = settings.data_dir / "run" / "haproxy"
    wanted = {
        **_DEFAULTS,
        "RAY_AUTH_MODE": "disabled" if settings.env is Environment.DEV else "token",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
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


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return what each of our workers must find in its environment before it imports anything."""
    return {
        "PROMETHEUS_MULTIPROC_DIR": str(metrics_dir(settings)),
        "GOGC": "400",  # OPA's collector: half the pauses for 40 MB (docs/adr/0005)
    }


def metrics_dir(settings: Settings) -> Path:
    """Where the processes of this node keep their counters."""
    return settings.data_dir / "run" / "metrics"


def start(settings: Settings, *, options: Mapping[str, Any] | None = None) -> str:
    """Start a local Ray, or join the one that RAY_ADDRESS names; return its dashboard's address.

    Must run before anything imports `ray`. `options` go to `ray.init`.
    """
    os.environ.update(environment(settings))
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
