"""Errors as HTTP shows them: RFC 9457 problem details, each with a stable code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from policies.errors import DependencyError, GovernanceError, RefusalError

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_ERRORS_MAX: Final = 20
_CODES: Final = {
    404: "request.not_found",
    405: "request.method_not_allowed",
    406: "request.not_acceptable",
    415: "request.unsupported_media_type",
}


def request_id(request: Request) -> str:
    """The id that this request is known by, as echoed in X-Request-ID."""
    return str(request.scope.get("acgs.request_id", ""))


def document(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str,
    errors: Sequence[Mapping[str, object]] | None = None,
) -> dict[str, object]:
    """Return the problem document as a JSON object."""
    problem: dict[str, object] = {
        "type": f"urn:acgs:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }
    if errors is not None:
        problem["errors"] = list(errors)
    return problem


def of_error(error: GovernanceError, *, request_id: str) -> dict[str, object]:
    """Return the problem document of a governance error."""
    return document(error.status, error.code, str(error), request_id=request_id)


def of_fields(error: ValidationError, *, request_id: str) -> dict[str, object]:
    """Return the problem document of a body that breaks the schema; 400 when it is not JSON."""
    items = error.errors(include_url=False, include_context=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in items):
        detail = f"the body is not valid JSON: {items[0]['msg']}"
        return document(400, "request.malformed_json", detail, request_id=request_id)
    errors = [{"loc": list(item["loc"]), "msg": item["msg"]} for item in items[:_ERRORS_MAX]]
    return document(
        422,
        "request.invalid",
        f"{len(items)} field(s) are wrong; see errors",
        request_id=request_id,
        errors=errors,
    )


def response(problem: Mapping[str, object]) -> Response:
    """Return the problem as an HTTP response, with the headers its status calls for."""
    status = int(str(problem["status"]))
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = f'Bearer realm="acgs", error="{_bearer_error(problem)}"'
    if status in (429, 503):
        headers["Retry-After"] = str(problem.get("retry_after_s", 1))
    return Response(orjson.dumps(problem), status, headers, media_type=MEDIA_TYPE)


def _bearer_error(problem: Mapping[str, object]) -> str:
    return "invalid_request" if problem["code"] == "auth.missing" else "invalid_token"


async def on_governance_error(request: Request, error: Exception) -> Response:
    """Answer a refusal with its 4xx and a failed dependency with 503."""
    assert isinstance(error, GovernanceError)
    _count(request, error)
    problem = of_error(error, request_id=request_id(request))
    retry_after_s = getattr(error, "retry_after_s", None)
    answer = response(problem)
    if retry_after_s is not None and "Retry-After" in answer.headers:
        answer.headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return answer


def _count(request: Request, error: GovernanceError) -> None:
    if isinstance(error, RefusalError | DependencyError):
        request.app.state.services.meter.refused(error.code)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router itself refuses: unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "request.refused")
    problem = document(error.status_code, code, str(error.detail), request_id=request_id(request))
    answer = response(problem)
    answer.headers.update(error.headers or {})
    return answer


async def on_invalid_request(request: Request, error: Exception) -> Response:
    """Answer path, query and header parameters that break their schema."""
    assert isinstance(error, RequestValidationError)
    errors = [
        {"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors()[:_ERRORS_MAX]
    ]
    return response(
        document(
            422,
            "request.invalid",
            f"{len(errors)} field(s) are wrong; see errors",
            request_id=request_id(request),
            errors=errors,
        )
    )


async def on_invalid_body(request: Request, error: Exception) -> Response:
    """Answer a body that breaks its schema, or is not JSON at all."""
    assert isinstance(error, ValidationError)
    return response(of_fields(error, request_id=request_id(request)))


async def on_defect(request: Request, error: Exception) -> Response:
    """Answer a defect of ours with 500 and nothing about our insides; the log has it whole."""
    log.error("request.failed", path=request.url.path, exc_info=error)
    return response(
        document(
            500,
            "internal.defect",
            "this is a defect of ours; quote the request id when you report it",
            request_id=request_id(request),
        )
    )
