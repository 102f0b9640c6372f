"""Saying in OpenAPI exactly what the routes read and answer."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serve_app.api.problems import MEDIA_TYPE
from serve_app.api.schemas import Problem

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_REFERENCE: Final = "#/components/schemas/{model}"
_MEANING: Final = {
    400: "Malformed: not JSON, or a rule of the message itself is broken",
    401: "No token, or one that is not accepted",
    403: "Wrong scope, tenant or sender",
    404: "Not found",
    408: "The body came too slowly",
    409: "Conflicts with what is already recorded",
    412: "Not the version that If-Match names",
    413: "Over 1 MiB",
    415: "Not application/json",
    422: "Fails the schema",
    429: "Too many; see Retry-After",
    500: "A defect of ours; the request id finds it in the logs",
    503: "Cannot govern now; see Retry-After",
}


def problems(*statuses: int) -> Responses:
    """Return the `responses` of a route that may answer these problems."""
    return {
        status: {
            "description": _MEANING[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model="Problem")}}},
        }
        for status in statuses
    }


def body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads this JSON body itself."""
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def install(app: FastAPI, models: tuple[type[BaseModel], ...]) -> None:
    """Make `/openapi.json` carry every schema and the bearer scheme."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, models)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _document(app: FastAPI, models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        openapi_version="3.1.0",
    )
    wanted: tuple[type[BaseModel], ...] = (*models, Problem)
    _, definitions = models_json_schema(
        [(model, "validation") for model in wanted], ref_template=_REFERENCE
    )
    components = document.setdefault("components", {})
    for name, schema in definitions.get("$defs", {}).items():
        components.setdefault("schemas", {}).setdefault(name, schema)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    _lock(document)
    return document


def _lock(document: dict[str, Any]) -> None:
    """Say which operations need a token: those that may answer 401."""
    for path, operations in document["paths"].items():
        # The root log's hashes are public; only its entries, by the same path, need a token.
        public: list[dict[str, list[str]]] = [{}] if path == "/tile/{path}" else []
        for operation in operations.values():
            if "401" in operation["responses"]:
                operation["security"] = [{"bearer": []}, *public]
