"""Who may decide, over the whole bus: stand-ins, shifts on call, critics; by HTTP and on pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest
from integration.console_visitor import held, signed_in
from integration.doorstep import Tenant, bus_signer, claims, problem
from running import a_body

from cluster.clock import SystemClock

pytestmark = pytest.mark.timeout(300)  # the first test also starts the bus

PATIENCE_S: Final = 30.0


def at(**ahead: float) -> str:
    return (SystemClock().now() + timedelta(**ahead)).isoformat()


def person(tenant: Tenant, name: str = "rita", *roles: str) -> httpx.Client:
    return tenant.client(name, *(roles or ("reviewer",)))


def admin(tenant: Tenant, name: str = "adam") -> httpx.Client:
    return person(tenant, name, "tenant_admin")


def claiming(tenant: Tenant, sub: str, *roles: str, **said: object) -> httpx.Client:
    """A client whose token says this, and is signed as any other."""
    whole = claims(tenant.bus, tenant.name, sub=sub, roles=list(roles), **said)
    return tenant.with_token(bus_signer(tenant.bus).token(**whole))


def give(client: httpx.Client, to: str = "dana", **changes: object) -> httpx.Response:
    body = {"reason": "I am away", "until": at(days=1), **changes}
    return client.put(f"/v1/delegations/{to}", json=body)


def plan(client: httpx.Client, who: str = "dana", **changes: object) -> httpx.Response:
    body = {"person": who, "starts_at": at(hours=-1), "ends_at": at(hours=1), **changes}
    return client.put("/v1/on-call/night", json=body)


def vote(client: httpx.Client, review_id: str, choice: str = "approve") -> httpx.Response:
    return client.post(f"/v1/reviews/{review_id}:{choice}", json={"reason": "I looked"})


def done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == httpx.codes.OK, answer.text
    found: dict[str, Any] = answer.json()
    return found


def until(happened: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < ends_s, "it has not happened"
        time.sleep(0.1)


def on_record(tenant: Tenant, kind: str) -> list[dict[str, Any]]:
    """What the signed ledger has of this kind."""
    tenant.account()  # by then whatever came before is in the tree
    return [entry[kind] for entry in tenant.entries() if entry["kind"] == kind]


# -- standing in ----------------------------------------------------------------------------------


def test_a_delegate_decides_for_the_giver_and_the_ledger_says_so(tenant: Tenant) -> None:
    given = done(give(person(tenant)))
    assert (given["giver"], given["to"], given["roles"]) == ("rita", "dana", ["reviewer"])
    assert done(person(tenant, "reader").get("/v1/delegations")) == {"delegations": [given]}
    review_id = held(tenant)
    dana = admin(tenant, "dana")
    review = done(dana.post(f"/v1/reviews/{review_id}:claim"))
    assert review["claimed"]["by"] == "dana"
    review = done(vote(dana, review_id))
    [cast] = review["votes"]
    assert (review["state"], cast["by"], cast["in_stead_of"]) == ("consumed", "dana", ["rita"])
    [envelope] = tenant.receive(wait_s=10)
    assert envelope["message"]["content"]["tool"] == "file.delete"
    [change] = on_record(tenant, "authority")
    assert (change["change"], change["by"]) == ("give", "rita")
    assert change["delegation"]["to"] == "dana"
    [step] = [step for step in on_record(tenant, "review") if step["step"] == "vote"]
    assert (step["by"], step["in_stead_of"]) == ("dana", ["rita"])


def test_the_giver_cannot_vote_afterwards_and_the_delegate_votes_once(tenant: Tenant) -> None:
    done(give(person(tenant)))
    review_id = held(tenant)
    dana = admin(tenant, "dana")
    done(vote(dana, review_id, "abstain"))
    for client in (dana, person(tenant), claiming(tenant, "bot", "reviewer", owner="rita")):
        problem(vote(client, review_id), 409, "review.already_voted")
    assert done(vote(person(tenant, "ralf"), review_id))["state"] == "consumed"


def test_who_voted_in_person_is_not_spoken_for(tenant: Tenant) -> None:
    done(give(person(tenant)))
    review_id = held(tenant)
    done(vote(person(tenant), review_id, "abstain"))
    problem(vote(admin(tenant, "dana"), review_id), 409, "review.already_voted")


def test_nobody_decides_for_the_house_that_asked(tenant: Tenant) -> None:
    done(give(claiming(tenant, "olga", "reviewer")))
    content = {"action": "file.delete", "tool": "file.delete", "args": {"path": "a"}}
    asks = claiming(tenant, "planner", "agent", owner="olga")
    answer = done(asks.post("/v1/messages", json=a_body(content=content)))
    review_id = answer["review"]["review_id"]
    problem(vote(admin(tenant, "dana"), review_id), 403, "review.self_approval")
    assert done(vote(person(tenant), review_id))["state"] == "consumed"


def test_nobody_gives_what_is_not_theirs_nor_to_their_own_house(tenant: Tenant) -> None:
    rita = person(tenant)
    problem(give(rita, roles=["tenant_admin"]), 403, "standin.role_missing")
    problem(give(rita, roles=["on_call"]), 403, "standin.role_missing")
    problem(give(rita, "rita"), 403, "standin.own_house")
    owned = claiming(tenant, "bot", "reviewer", owner="rita")
    problem(give(owned, "rita"), 403, "standin.own_house")
    problem(give(tenant.client("planner")), 403, "auth.scope_missing")
    problem(give(rita, until=at(days=15)), 422, "standin.period")
    problem(give(rita, until=at(hours=-1)), 422, "standin.period")
    problem(give(rita, reason="   "), 422, "standin.reason_required")
    problem(give(rita, roles=[]), 422, "request.invalid")
    problem(give(rita, until="9999-12-31T23:59:59+00:00"), 422, "standin.period")
    problem(give(rita, "No-Id"), 422, "request.invalid")
    assert done(rita.get("/v1/delegations")) == {"delegations": []}
    codes = [refusal["code"] for refusal in on_record(tenant, "refusal")]
    assert sorted(codes) == [
        "auth.scope_missing",
        *["standin.own_house"] * 2,
        *["standin.role_missing"] * 2,
    ]


def test_narrower_roles_stay_narrow_and_go_no_further(tenant: Tenant) -> None:
    both = person(tenant, "adam", "reviewer", "tenant_admin")
    done(give(both, "dana", roles=["tenant_admin"]))
    review_id = held(tenant)
    carl = claiming(tenant, "carl", "tenant_admin")
    problem(vote(carl, review_id), 403, "review.role_missing")
    dana = admin(tenant, "dana")
    problem(vote(dana, review_id), 403, "review.role_missing")
    problem(give(dana, "carl", roles=["reviewer"]), 403, "standin.role_missing")


def test_what_is_withdrawn_or_over_counts_no_more(tenant: Tenant) -> None:
    rita, dana = person(tenant), admin(tenant, "dana")
    review_id = held(tenant)
    problem(dana.delete("/v1/delegations/dana"), 404, "standin.unknown")
    done(give(rita))
    assert rita.delete("/v1/delegations/dana").status_code == httpx.codes.NO_CONTENT
    problem(vote(dana, review_id), 403, "review.role_missing")
    done(give(rita))
    stranger = person(tenant, "sam").delete("/v1/delegations/dana", params={"from": "rita"})
    problem(stranger, 403, "auth.scope_missing")
    ended = admin(tenant).delete("/v1/delegations/dana", params={"from": "rita"})
    assert ended.status_code == httpx.codes.NO_CONTENT
    problem(vote(dana, review_id), 403, "review.role_missing")
    done(give(rita, until=at(seconds=1)))
    until(lambda: done(rita.get("/v1/delegations")) == {"delegations": []})
    problem(vote(dana, review_id), 403, "review.role_missing")
    changes = [(note["change"], note["by"]) for note in on_record(tenant, "authority")]
    assert changes == [
        ("give", "rita"),
        ("withdraw", "rita"),
        ("give", "rita"),
        ("withdraw", "adam"),
        ("give", "rita"),
    ]


def test_nobody_stands_for_who_was_revoked(tenant: Tenant) -> None:
    done(give(person(tenant)))
    review_id, dana = held(tenant), admin(tenant, "dana")
    operator = person(tenant, "oscar", "operator")
    order = {"tenant": tenant.name, "agent": "rita"}
    assert operator.post("/v1/controls/revoke", json=order).status_code == httpx.codes.NO_CONTENT
    until(lambda: person(tenant).get("/v1/delegations").status_code == httpx.codes.UNAUTHORIZED)
    problem(vote(dana, review_id), 403, "review.role_missing")


def test_tenants_see_nothing_of_one_another(tenant: Tenant) -> None:
    done(give(person(tenant)))
    with tenant.bus.client("rita", "reviewer", tenant="globex") as other:
        assert done(other.get("/v1/delegations")) == {"delegations": []}
        problem(other.delete("/v1/delegations/dana"), 404, "standin.unknown")


# -- on call --------------------------------------------------------------------------------------


def test_who_is_on_call_now_holds_the_role_where_a_review_has_come_up_to_it(
    tenant: Tenant,
) -> None:
    shift = done(plan(admin(tenant)))
    later = done(
        admin(tenant).put(
            "/v1/on-call/day",
            json={"person": "rita", "starts_at": at(hours=1), "ends_at": at(hours=9)},
        )
    )
    seen = done(person(tenant).get("/v1/on-call"))
    assert seen == {"now": ["dana"], "shifts": [shift, later]}
    review_id = held(tenant)
    top = person(tenant, "rosa", "reviewer", "tenant_admin")
    for _ in range(2):
        done(top.post(f"/v1/reviews/{review_id}:escalate", json={"reason": "it is late"}))
    review = done(person(tenant).get(f"/v1/reviews/{review_id}"))
    assert review["eligible"] == ["on_call", "reviewer", "tenant_admin"]
    # Who claims it in a token gains nothing by it.
    claims_it = claiming(tenant, "ralf", "reviewer", "on_call")
    done(vote(claims_it, review_id, "abstain"))
    done(vote(person(tenant, "dana"), review_id))
    review = done(person(tenant).get(f"/v1/reviews/{review_id}"))
    assert [(one["by"], one["roles"]) for one in review["votes"]] == [
        ("ralf", ["reviewer"]),
        ("dana", ["on_call", "reviewer"]),
    ]


def test_shifts_are_planned_by_who_manages_agents_and_within_bounds(tenant: Tenant) -> None:
    problem(plan(person(tenant)), 403, "auth.scope_missing")
    problem(plan(admin(tenant), ends_at=at(days=32)), 422, "standin.period")
    over = {"starts_at": at(hours=-2), "ends_at": at(hours=-1)}
    problem(plan(admin(tenant), **over), 422, "standin.period")
    problem(plan(admin(tenant), starts_at="yesterday"), 422, "request.invalid")
    last = "9999-12-31T23:59:59+00:00"
    problem(plan(admin(tenant), starts_at=last, ends_at=last), 422, "standin.period")
    done(plan(admin(tenant)))
    problem(person(tenant).delete("/v1/on-call/night"), 403, "auth.scope_missing")
    assert admin(tenant).delete("/v1/on-call/night").status_code == httpx.codes.NO_CONTENT
    problem(admin(tenant).delete("/v1/on-call/night"), 404, "standin.unknown")
    assert done(person(tenant).get("/v1/on-call")) == {"now": [], "shifts": []}
    notes = [note["change"] for note in on_record(tenant, "authority")]
    assert notes == ["plan", "unplan"]


# -- critics --------------------------------------------------------------------------------------


def test_registered_agents_are_seated_and_unseated(tenant: Tenant) -> None:
    boss = admin(tenant)
    problem(boss.put("/v1/critics/carl", json={"weight": 3}), 404, "agent.unknown")
    for agent in ("carl", "cleo"):
        tenant.bus.register(agent, tenant=tenant.name)
        done(boss.put(f"/v1/critics/{agent}", json={"weight": 3}))
    problem(person(tenant).put("/v1/critics/carl", json={"weight": 9}), 403, "auth.scope_missing")
    problem(boss.put("/v1/critics/carl", json={"weight": 0}), 422, "request.invalid")
    problem(boss.put("/v1/critics/adam", json={"weight": 9}), 403, "critic.self_seated")
    assert done(boss.put("/v1/critics/carl", json={"weight": 7}))["weight"] == 7
    assert boss.delete("/v1/agents/cleo").status_code == httpx.codes.NO_CONTENT
    assert done(person(tenant).get("/v1/critics")) == {
        "critics": [
            {"agent": "carl", "weight": 7, "registered": True},
            {"agent": "cleo", "weight": 3, "registered": False},
        ]
    }
    assert boss.delete("/v1/critics/cleo").status_code == httpx.codes.NO_CONTENT
    problem(boss.delete("/v1/critics/cleo"), 404, "critic.unknown")
    notes = [note["change"] for note in on_record(tenant, "authority")]
    assert notes == ["seat", "seat", "seat", "unseat"]
    codes = [refusal["code"] for refusal in on_record(tenant, "refusal")]
    assert sorted(codes) == ["agent.unknown", "auth.scope_missing", "critic.self_seated"]


# -- pages ----------------------------------------------------------------------------------------


def test_pages_say_who_is_on_call_and_in_whose_stead_somebody_votes(tenant: Tenant) -> None:
    done(give(person(tenant)))
    review_id = held(tenant)
    dana = signed_in(tenant, "dana", "tenant_admin")
    assert "On call" not in dana.get("/console/").text
    done(plan(admin(tenant), "rita"))
    assert "On call: rita" in dana.get("/console/").text
    assert "On call" not in dana.get("/console/", headers={"HX-Request": "true"}).text
    path = f"/console/reviews/{review_id}"
    assert "Your vote, in the stead of rita" in dana.get(path).text
    done(vote(admin(tenant, "dana"), review_id))
    assert "dana approved it in the stead of rita at" in dana.get(path).text
