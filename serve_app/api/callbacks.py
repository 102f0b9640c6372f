"""Callbacks: what others send because people there did something. The signature is the token.

A forged, stale or repeated one is a 403 or a 409 with a code of its own, and nothing changes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Header, Request, Response

from serve_app.api.auth import services
from serve_app.api.bodies import read_body
from serve_app.api.openapi import problems
from serve_app.slack import Signed

router = APIRouter(tags=["callbacks"])

_FORM: Final = "application/x-www-form-urlencoded"
_BODY_BYTES_MAX: Final = 256 * 1024
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            _FORM: {
                "schema": {
                    "type": "object",
                    "required": ["payload"],
                    "properties": {
                        "payload": {"type": "string", "description": "JSON, as Slack writes it"}
                    },
                }
            }
        },
    }
}
_MEANING: Final = {
    400: "Signed by Slack, but no click that we know",
    403: "Not signed by Slack, or not within the last five minutes",
    404: "Nobody may decide in Slack here",
    409: "Taken before",
    413: "Over 256 KiB",
    415: "Not application/x-www-form-urlencoded",
}
Signature = Annotated[str, Header(alias="X-Slack-Signature", max_length=256)]
Timestamp = Annotated[str, Header(alias="X-Slack-Request-Timestamp", max_length=32)]


@router.post(
    "/v1/callbacks/slack",
    operation_id="slackCallback",
    response_class=Response,
    responses={
        200: {
            "description": "Taken: what Slack shows then, or nothing",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        **problems(408, 422, 503),
        **{
            status: {**problem, "description": _MEANING[int(status)]}
            for status, problem in problems(*_MEANING).items()
        },
    },
    openapi_extra=_BODY,
)
async def slack(
    request: Request, *, signature: Signature = "", timestamp: Timestamp = ""
) -> Response:
    """Take what somebody clicked in Slack; a vote goes through the same rules as any other."""
    raw = await read_body(request, limit=_BODY_BYTES_MAX, kind=_FORM)
    shown = await services(request).outside.slack.take(
        Signed(raw=raw, signature=signature, timestamp=timestamp)
    )
    if shown is None:
        return Response(status_code=200)
    return Response(orjson.dumps(shown), media_type="application/json")
