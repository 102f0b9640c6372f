"""The application: which actors sit where, and how the gateway is deployed. One page.

`serve run serve_app.app:build` starts it, and so does `acgs run`; KubeRay names the same path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ray import serve
from ray.serve.schema import LoggingConfig

from actors import roster
from cluster import metrics
from cluster.channels.reading import load_channels
from cluster.opa.native import go_environment
from cluster.session import metrics_dir, worker_environment
from cluster.settings import Settings, load_settings
from serve_app.deployments.gateway import Gateway

APPLICATION = "acgs"
# Ray's access log costs a tenth of a request; what we count is in /metrics.
_QUIET = LoggingConfig(enable_access_log=False, log_level="WARNING")


def build(args: Mapping[str, str] | None = None) -> serve.Application:
    """Seat the detached actors and return the application, under the settings in force.

    `args` are refused: every switch is in the environment, so that there is one truth.
    """
    if args:
        raise ValueError(f"set these in the environment instead of passing them: {sorted(args)}")
    settings = load_settings()
    load_channels(settings, env=os.environ)  # a fault is said here, before anything is seated
    env = worker_environment(settings)
    metrics_dir(settings).mkdir(parents=True, exist_ok=True)
    roster.seat_all(settings, env=env)
    deployment: serve.Deployment = Gateway  # type: ignore[assignment]  # the decorator's type
    application: serve.Application = deployment.options(
        num_replicas=settings.gateway_replicas,
        # The API sheds load itself, with a problem document; Ray's bounds stand behind it.
        max_ongoing_requests=2 * (settings.ongoing_requests_max + settings.waiting_requests_max),
        max_queued_requests=settings.queued_requests_max,
        logging_config=_QUIET,
        health_check_period_s=0.5,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=20,
        graceful_shutdown_wait_loop_s=0.5,
        ray_actor_options={
            "num_cpus": 0.5,
            "runtime_env": {"env_vars": {**env, **go_environment()}},
        },
    ).bind(settings)
    return application


def run(settings: Settings) -> None:
    """Serve the application on a started session; returns when every replica answers."""
    metrics.prepare(metrics_dir(settings))
    serve.start(
        proxy_location="EveryNode",
        http_options={
            "host": settings.http_host,
            "port": settings.http_port,
            "request_timeout_s": 330,  # above the longest answer: a stream of 300 s
        },
        logging_config=_QUIET,
    )
    serve.run(build(), name=APPLICATION, route_prefix="/")


def stop(settings: Settings) -> None:
    """Drain the gateway, then dismiss the actors; the store is the last to leave.

    The application goes before Serve does: Serve's own shutdown would end HAProxy, and with it
    every request under way, while the replicas still work on them.
    """
    serve.delete(APPLICATION)
    serve.shutdown()  # type: ignore[no-untyped-call]  # theirs
    roster.dismiss_all(settings)
