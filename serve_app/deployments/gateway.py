"""The ingress replica: it holds the API and its services, and knows no rule."""

from __future__ import annotations

from functools import partial

from fastapi import FastAPI
from ray import serve

from cluster.settings import Settings
from serve_app.api.application import create_api
from serve_app.wiring import open_services


@serve.deployment
@serve.ingress()
class Gateway:
    """One replica of the front door. Its API opens its services in the replica's own loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._api: FastAPI | None = None

    async def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the ASGI application that Ray serves."""
        self._api = create_api(partial(open_services, self._settings))
        return self._api

    async def check_health(self) -> None:
        """Raise when this replica cannot answer any more, so that Ray replaces it."""
        if self._api is not None and not getattr(self._api.state, "alive", True):
            raise RuntimeError("the gateway's services are closed")
