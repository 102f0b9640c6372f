"""Health as Kubernetes asks for it, as operators read it, and as Prometheus scrapes it."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from fastapi import APIRouter, Request, Response

from cluster import metrics
from cluster.breaker.health import circuit_breaker_health_check
from serve_app.api.auth import services
from serve_app.api.openapi import Responses
from serve_app.api.schemas import HealthOut, ProbeOut
from serve_app.api.services import Check

router = APIRouter(tags=["health"])

_CHECK_TIMEOUT_S: Final = 2.0
_DOWN: Final[Responses] = {503: {"model": ProbeOut, "description": "Not now; see checks"}}


@router.get("/health/live", operation_id="live", response_model=ProbeOut)
async def live() -> Response:
    """Say that this process answers; nothing behind it is asked."""
    return _probe({"process": {"status": "pass", "detail": "answering"}})


@router.get("/health/startup", operation_id="startup", response_model=ProbeOut, responses=_DOWN)
async def startup(request: Request) -> Response:
    """Say whether everything this replica needs was opened: the same checks as readiness."""
    return _probe(await _run_checks(request))


@router.get("/health/ready", operation_id="ready", response_model=ProbeOut, responses=_DOWN)
async def ready(request: Request) -> Response:
    """Say whether this replica can govern now."""
    return _probe(await _run_checks(request))


@router.get("/v1/health", operation_id="health", response_model=HealthOut)
async def health(request: Request) -> Response:
    """Return the health score, the components behind it, and the state of every circuit."""
    checks = await _run_checks(request)
    score = sum(check["status"] == "pass" for check in checks.values()) / len(checks)
    circuits = circuit_breaker_health_check()["circuit_states"]
    view = {
        "score": round(score, 4),
        "status": "healthy" if score >= 0.7 else "degraded" if score >= 0.5 else "critical",
        "components": checks,
        "circuits": circuits,
    }
    return Response(orjson.dumps(view), media_type="application/json")


@router.get("/metrics", operation_id="metrics", response_class=Response)
async def prometheus() -> Response:
    """Return the counters of every process on this node, whichever replica answers."""
    body, media_type = await asyncio.to_thread(metrics.render)
    return Response(body, media_type=media_type)


async def _run_checks(request: Request) -> dict[str, dict[str, str]]:
    checks = services(request).checks
    outcomes = await asyncio.gather(*(_run(check) for check in checks.values()))
    return dict(zip(checks, outcomes, strict=True))


async def _run(check: Check) -> dict[str, str]:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return {"status": "pass", "detail": await check()}
    except TimeoutError:
        return {"status": "fail", "detail": f"no answer within {_CHECK_TIMEOUT_S:.0f} s"}
    except Exception as error:  # noqa: BLE001  # any failure of a check is its answer
        return {"status": "fail", "detail": str(error) or type(error).__name__}


def _probe(checks: dict[str, dict[str, str]]) -> Response:
    passed = all(check["status"] == "pass" for check in checks.values())
    view = {"status": "pass" if passed else "fail", "checks": checks}
    return Response(orjson.dumps(view), 200 if passed else 503, media_type="application/json")
