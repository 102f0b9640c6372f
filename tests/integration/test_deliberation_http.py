"""Over HTTP: critics decide what only wants a second look, and broken glass is looked at after."""

from __future__ import annotations

import time
from typing import Any, Final

import httpx
import pytest
from integration.doorstep import Tenant, problem
from integration.test_reviews_http import PATIENCE_S, done, found, held, person, received, steps

pytestmark = pytest.mark.timeout(300)  # the first test also starts the bus

PAGE: Final = {
    "action": "page.publish",
    "tool": "page.publish",
    "args": {"path": "news/today", "text": "we are open"},
}


def bench(tenant: Tenant, **weights: int) -> None:
    """Register critics and give them a seat, as an admin of the tenant does."""
    admin = tenant.client("tina", "tenant_admin")
    for name, weight in weights.items():
        admin.put(f"/v1/agents/{name}", json={"agent_type": "critic"}).raise_for_status()
        seated = admin.put(f"/v1/critics/{name}", json={"weight": weight})
        assert seated.status_code in (httpx.codes.OK, httpx.codes.CREATED), seated.text


def published(tenant: Tenant) -> str:
    answer = tenant.send(content=PAGE)
    assert answer.json()["effect"] == "review", answer.text
    assert [reason["code"] for reason in answer.json()["reasons"]] == ["policy.panel_required"]
    review_id: str = answer.json()["review"]["review_id"]
    return review_id


def opine(tenant: Tenant, review_id: str, name: str, **said: str) -> httpx.Response:
    body = {"opinion": "approve", "reason": "it says what is true", **said}
    return tenant.client(name, "critic").post(f"/v1/reviews/{review_id}:opine", json=body)


def break_glass(tenant: Tenant, review_id: str, name: str, *roles: str) -> httpx.Response:
    client = person(tenant, name, *(roles or ("tenant_admin",)))
    body = {"reason": "the site is down"}
    return client.post(f"/v1/reviews/{review_id}:break-glass", json=body)


def until(tenant: Tenant, review_id: str, state: str) -> dict[str, Any]:
    ends = time.monotonic() + PATIENCE_S
    while (review := found(tenant, review_id))["state"] != state:
        assert time.monotonic() < ends, review
        time.sleep(0.1)
    return review


def test_critics_who_agree_let_it_go_and_the_ledger_names_them(tenant: Tenant) -> None:
    bench(tenant, carl=2, cleo=1, cora=1)
    review_id = published(tenant)
    review = found(tenant, review_id)
    assert review["state"] == "deliberating"
    assert (review["panel"]["rule"], review["panel"]["needed"]) == ("super_majority", 2)
    heard = done(opine(tenant, review_id, "cleo"), "deliberating")
    assert {seat["agent"]: seat["weight"] for seat in heard["panel"]["seats"]} == {
        "carl": 2,
        "cleo": 1,
        "cora": 1,
    }
    ended = done(opine(tenant, review_id, "carl"), "consumed")
    assert ended["panel"]["outcome"] == "approved"
    assert [one["by"] for one in ended["panel"]["opinions"]] == ["cleo", "carl"]
    (message,) = received(tenant)
    assert message["content"] == PAGE
    decision = person(tenant, "reader").get(f"/v1/decisions/{ended['released_by']}").json()
    assert (decision["effect"], decision["lane"]) == ("allow", "deliberation")
    assert [reason["code"] for reason in decision["reasons"]] == ["review.panel_approved"]
    assert steps(tenant, review_id) == [
        ("convene", None),
        ("opine", "cleo"),
        ("opine", "carl"),
        ("consume", None),
    ]


def test_critics_who_differ_leave_it_to_people(tenant: Tenant) -> None:
    bench(tenant, carl=1, cleo=1)
    review_id = published(tenant)
    done(opine(tenant, review_id, "carl"), "deliberating")
    split = done(opine(tenant, review_id, "cleo", opinion="reject"), "pending")
    assert split["panel"]["outcome"] == "split"
    problem(opine(tenant, review_id, "cleo"), 409, "review.panel_closed")
    approve = person(tenant).post(f"/v1/reviews/{review_id}:approve", json={"reason": "true"})
    done(approve, "consumed")
    assert len(received(tenant)) == 1


def test_without_critics_people_have_it_at_once(tenant: Tenant) -> None:
    review_id = published(tenant)
    assert until(tenant, review_id, "pending")["panel"]["seats"] == []


def test_only_critics_who_were_called_are_heard_and_on_nothing_else(tenant: Tenant) -> None:
    bench(tenant, carl=1, cleo=1)
    review_id = published(tenant)
    problem(opine(tenant, review_id, "mallory"), 403, "review.not_called")
    problem(opine(tenant, review_id, "planner"), 403, "review.self_approval")
    problem(opine(tenant, review_id, "carl", reason=" "), 422, "review.reason_required")
    other = "sha256:" + "0" * 64
    shown = opine(tenant, review_id, "carl", action_digest=other)
    problem(shown, 409, "review.digest_mismatch")
    problem(opine(tenant, review_id, "carl", opinion="maybe"), 422, "request.invalid")
    plain = person(tenant, "carl").post(
        f"/v1/reviews/{review_id}:opine", json={"opinion": "approve", "reason": "x"}
    )
    problem(plain, 403, "review.not_called")  # the role of a critic is missing from this token
    done(opine(tenant, review_id, "carl"), "deliberating")
    problem(opine(tenant, review_id, "carl"), 409, "review.already_voted")
    # What a rule holds is for people, whatever critics there are.
    for_people = held(tenant)
    assert found(tenant, for_people)["panel"] is None
    problem(opine(tenant, for_people, "cleo"), 409, "review.not_approved")


def test_two_people_break_the_glass_and_others_look_at_it_afterwards(tenant: Tenant) -> None:
    review_id = held(tenant)
    first = done(break_glass(tenant, review_id, "tina"), "pending")
    assert [vote["by"] for vote in first["glass"]["broken"]] == ["tina"]
    problem(break_glass(tenant, review_id, "tina"), 409, "review.already_voted")
    by_reviewer = break_glass(tenant, review_id, "rita", "reviewer")
    problem(by_reviewer, 403, "review.glass_refused")
    ended = done(break_glass(tenant, review_id, "tom"), "consumed")
    assert len(received(tenant)) == 1
    decision = person(tenant, "reader").get(f"/v1/decisions/{ended['released_by']}").json()
    assert [reason["code"] for reason in decision["reasons"]] == ["review.glass_broken"]

    open_ones = person(tenant, "reader").get("/v1/reviews", params={"state": "pending"}).json()
    (follows,) = open_ones["reviews"]
    assert follows["follows"] == review_id
    assert follows["barred"] == ["tina", "tom"]
    assert "the site is down" in follows["reasons"][0]["message"]
    path = f"/v1/reviews/{follows['review_id']}"
    mine = person(tenant, "tina", "reviewer").post(f"{path}:approve", json={"reason": "mine"})
    problem(mine, 403, "review.barred")
    upheld = person(tenant).post(f"{path}:approve", json={"reason": "they had to"})
    assert done(upheld, "consumed")["released_by"] == ended["released_by"]
    assert received(tenant) == []
    assert steps(tenant, follows["review_id"]) == [
        ("open", None),
        ("vote", "rita"),
        ("consume", None),
    ]
