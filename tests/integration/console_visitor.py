"""A person in front of the console: by plain HTTP, or in a real browser."""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
from integration.doorstep import Tenant

DELETE: Final = {
    "action": "file.delete",
    "tool": "file.delete",
    "args": {"path": "reports/q1.md"},
}


def held(tenant: Tenant, **content: Any) -> str:
    """Send what the default policy holds for one reviewer; return the review's id."""
    answer = tenant.send(content=content or DELETE)
    assert answer.json()["effect"] == "review", answer.text
    review_id: str = answer.json()["review"]["review_id"]
    return review_id


def link(tenant: Tenant, name: str, *roles: str) -> str:
    """A link that signs this person in once, as `acgs console` prints it."""
    answer = tenant.client(name, *roles).post("/console/tickets")
    assert answer.status_code == httpx.codes.OK, answer.text
    return f"{tenant.bus.url}/console/sign-in#{answer.json()['code']}"


def signed_in(tenant: Tenant, name: str = "rita", *roles: str) -> httpx.Client:
    """A browser without JavaScript, signed in."""
    code = link(tenant, name, *(roles or ("reviewer",))).partition("#")[2]
    client = tenant.clients.enter_context(httpx.Client(base_url=tenant.bus.url, timeout=30))
    answer = client.post("/console/sign-in", data={"code": code})
    assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
    return client


def form(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the form with this action, as a browser would send them."""
    found = re.search(rf'<form[^>]* action="[^"]*/{action}".*?</form>', page, re.DOTALL)
    assert found is not None, f"no form {action!r} on the page"
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found[0]))
