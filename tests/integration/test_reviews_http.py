"""Reviews over HTTP: what is held is seen, the right people decide, and it goes exactly once."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import httpx
import pytest
from integration.doorstep import Tenant, bus_signer, claims, problem
from running import a_body

from actors.ledger.entry import open_entry

pytestmark = pytest.mark.timeout(300)  # the first test also starts the bus

PATIENCE_S: Final = 30.0
QUIET_S: Final = 3.0  # longer than any repair waits before it brings what was left lying
DELETE: Final = {
    "action": "file.delete",
    "tool": "file.delete",
    "args": {"path": "reports/q1.md"},
}
OTHER_DIGEST: Final = "sha256:" + "0" * 64


def held(tenant: Tenant, *, agent: str = "planner", **changes: Any) -> str:
    """Send what the default policy holds for one reviewer; return the review's id."""
    answer = tenant.send(agent=agent, content=DELETE, **changes)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["effect"] == "review", answer.text
    review_id: str = answer.json()["review"]["review_id"]
    return review_id


def asked(tenant: Tenant) -> str:
    """Ask for the same without sending it; return the review's id."""
    answer = tenant.client().post("/v1/decisions", json=a_body(content=DELETE))
    assert answer.json()["effect"] == "review", answer.text
    review_id: str = answer.json()["review"]["review_id"]
    return review_id


def person(tenant: Tenant, name: str = "rita", *roles: str) -> httpx.Client:
    return tenant.client(name, *(roles or ("reviewer",)))


def owned(tenant: Tenant, sub: str, *roles: str, owner: str) -> httpx.Client:
    """A client whose token says who answers for it."""
    said = claims(tenant.bus, tenant.name, sub=sub, roles=list(roles), owner=owner)
    return tenant.with_token(bus_signer(tenant.bus).token(**said))


def act(
    client: httpx.Client, review_id: str, verb: str, /, *, if_match: str = "", **body: object
) -> httpx.Response:
    if verb in {"approve", "reject", "abstain", "escalate", "cancel"}:
        body = {"reason": "because", **body}
    headers = {"If-Match": if_match} if if_match else {}
    return client.post(f"/v1/reviews/{review_id}:{verb}", json=body or None, headers=headers)


def done(answer: httpx.Response, state: str) -> dict[str, Any]:
    assert answer.status_code == httpx.codes.OK, answer.text
    review: dict[str, Any] = answer.json()
    assert review["state"] == state, review
    assert answer.headers["etag"] == f'"{review["version"]}"'
    return review


def found(tenant: Tenant, review_id: str) -> dict[str, Any]:
    answer = person(tenant, "reader").get(f"/v1/reviews/{review_id}")
    assert answer.status_code == httpx.codes.OK, answer.text
    review: dict[str, Any] = answer.json()
    return review


def listed(tenant: Tenant, **params: object) -> list[str]:
    answer = person(tenant, "reader").get("/v1/reviews", params=params)  # type: ignore[arg-type]  # lists of texts too
    assert answer.status_code == httpx.codes.OK, answer.text
    return [review["review_id"] for review in answer.json()["reviews"]]


def received(tenant: Tenant, agent: str = "tools") -> list[dict[str, Any]]:
    """Everything that comes until nothing has come for a while; all of it is acknowledged."""
    messages: list[dict[str, Any]] = []
    while envelopes := tenant.receive(agent, wait_s=QUIET_S):
        for envelope in envelopes:
            path = f"/v1/mailbox/{envelope['lease_id']}:ack"
            tenant.client(agent).post(path).raise_for_status()
            messages.append({**envelope["message"], "decision_id": envelope["decision_id"]})
    return messages


def steps(tenant: Tenant, review_id: str) -> list[tuple[str, str | None]]:
    """The steps of a review as the signed ledger has them, and who took them."""
    tenant.account()  # by then whatever came before is in the tree
    notes = [entry["review"] for entry in tenant.entries() if entry["kind"] == "review"]
    return [(note["step"], note.get("by")) for note in notes if note["review_id"] == review_id]


# -- the road -------------------------------------------------------------------------------------


def test_what_is_held_is_seen_and_read_by_those_who_decide(tenant: Tenant) -> None:
    decision = tenant.send(content=DELETE, message_id="m1").json()
    where = decision["review"]
    assert (decision["effect"], decision["lane"]) == ("review", "human")
    assert where["review_id"] == decision["decision_id"]
    assert where["url"] == f"/v1/reviews/{decision['decision_id']}"
    answer = person(tenant).get(where["url"])
    review = done(answer, "pending")
    assert review["expires_at"] == where["expires_at"]
    for name in ("decision_id", "message_id", "impact", "reasons", "policy_revision"):
        assert review[name] == decision[name], name
    assert (review["agent"], review["to_agent"], review["tool"]) == (
        "planner",
        "tools",
        "file.delete",
    )
    assert review["quorum"] == {
        "needed": 1,
        "roles": ["reviewer"],
        "each": False,
        "rule": "veto",
    }
    assert (review["votes"], review["escalation"]["level"], review["delivers"]) == ([], 1, True)
    page = person(tenant).get("/v1/reviews").json()
    assert page == {"reviews": [review], "next_cursor": None}
    leaves = person(tenant).get(f"{where['url']}/message").json()
    assert leaves["action_digest"] == review["action_digest"]
    assert (leaves["message"]["message_id"], leaves["message"]["content"]) == ("m1", DELETE)
    assert received(tenant) == []


def test_who_sees_what_is_private_is_in_the_signed_ledger(tenant: Tenant) -> None:
    mail = {"mail": "anna.svensson@example.com"}
    content = {"action": "crm.update", "tool": "crm.update", "args": mail}
    review_id = tenant.send(content=content).json()["review"]["review_id"]
    path = f"/v1/reviews/{review_id}"
    masked = person(tenant).get(f"{path}/message").json()
    assert "anna.svensson" not in json.dumps(masked)
    assert (masked["masked"], masked["revealed"]) == (["email"], False)
    revealed = person(tenant).get(f"{path}/message", params={"reveal": "true"}).json()
    assert revealed["message"]["content"] == content
    assert revealed["revealed"] is True
    tenant.account()  # by then whatever came before is in the tree
    [seen] = [entry["reveal"] for entry in tenant.entries() if entry["kind"] == "reveal"]
    assert (seen["agent"], seen["review_id"], seen["masked"]) == ("rita", review_id, ["email"])
    assert seen["action_digest"] == masked["action_digest"]
    assert "anna" not in json.dumps(seen)


def test_what_is_approved_goes_once_and_the_ledger_names_who_let_it_go(tenant: Tenant) -> None:
    review_id = held(tenant, message_id="m1")
    digest = found(tenant, review_id)["action_digest"]
    answer = act(
        person(tenant), review_id, "approve", reason="we have a copy", action_digest=digest
    )
    review = done(answer, "consumed")
    [vote] = review["votes"]
    assert (vote["by"], vote["role"], vote["vote"]) == ("rita", "reviewer", "approve")
    assert vote["reason"] == "we have a copy"
    [message] = received(tenant)
    assert (message["message_id"], message["content"]) == ("m1", DELETE)
    assert message["decision_id"] == review["released_by"]
    again = tenant.send(content=DELETE, message_id="m1")
    assert (again.json()["decision_id"], again.headers["idempotency-replayed"]) == (
        review_id,
        "true",
    )
    assert received(tenant) == []
    gone = person(tenant).get(f"/v1/reviews/{review_id}/message")
    problem(gone, 404, "review.not_held")

    released = proved(tenant, review["released_by"])
    assert (released["effect"], released["lane"]) == ("allow", "human")
    assert (released["review_id"], released["approvers"]) == (review_id, ["rita"])
    assert steps(tenant, review_id) == [("vote", "rita"), ("consume", None)]
    answer = person(tenant).get(f"/v1/decisions/{review['released_by']}")
    assert answer.json().items() >= {"review_id": review_id, "approvers": ["rita"]}.items()


def proved(tenant: Tenant, decision_id: str) -> dict[str, Any]:
    """The decision as its proof has it, once it is in the tree."""
    tenant.account()
    proof = tenant.client("auditor", "auditor").get(
        f"/v1/decisions/{decision_id}/proof", headers={"Accept": "application/json"}
    )
    assert proof.status_code == httpx.codes.OK, proof.text
    decision: dict[str, Any] = dict(open_entry(b64decode(proof.json()["entry"])).body)["decision"]
    return decision


def test_what_is_rejected_never_goes_and_the_agent_is_told(tenant: Tenant) -> None:
    tenant.bus.register("planner", tenant=tenant.name)
    review_id = held(tenant, message_id="m1")
    review = done(act(person(tenant), review_id, "reject", reason="keep them"), "rejected")
    assert (review["closing"]["code"], review["closing"]["by"]) == ("review.rejected", "rita")
    assert received(tenant) == []
    [notice] = received(tenant, "planner")
    assert notice["message_type"] == "notification"
    told = notice["content"]["args"]
    assert (told["review_id"], told["state"], told["reason"]) == (
        review_id,
        "rejected",
        "keep them",
    )
    assert listed(tenant, state=["pending", "claimed"]) == []
    assert listed(tenant, state="rejected") == [review_id]


def test_a_critical_action_needs_three_people_and_both_roles(tenant: Tenant) -> None:
    review_id = held(tenant, priority="critical")
    assert found(tenant, review_id)["quorum"]["needed"] == 3
    for name in ("rita", "ralf"):
        done(act(person(tenant, name), review_id, "approve"), "pending")
    done(act(person(tenant, "rosa"), review_id, "approve"), "pending")
    assert received(tenant) == []
    review = done(act(person(tenant, "adam", "tenant_admin"), review_id, "approve"), "consumed")
    assert [vote["by"] for vote in review["votes"]] == ["rita", "ralf", "rosa", "adam"]
    assert len(received(tenant)) == 1
    approvers = proved(tenant, review["released_by"])["approvers"]
    assert approvers == ["rita", "ralf", "rosa", "adam"]


def test_an_abstention_counts_for_nobody(tenant: Tenant) -> None:
    review_id = held(tenant)
    done(act(person(tenant, "ralf"), review_id, "abstain"), "pending")
    problem(act(person(tenant, "ralf"), review_id, "approve"), 409, "review.already_voted")
    review = done(act(person(tenant), review_id, "approve"), "consumed")
    assert [vote["vote"] for vote in review["votes"]] == ["abstain", "approve"]
    assert proved(tenant, review["released_by"])["approvers"] == ["rita"]


def test_who_claims_it_has_it_alone_until_they_let_go(tenant: Tenant) -> None:
    review_id = held(tenant)
    review = done(act(person(tenant), review_id, "claim"), "claimed")
    assert review["claimed"]["by"] == "rita"
    assert listed(tenant, assignee="rita") == [review_id]
    assert listed(tenant, assignee="ralf") == []
    for verb in ("approve", "claim"):
        problem(act(person(tenant, "ralf"), review_id, verb), 409, "review.claimed")
    problem(act(person(tenant, "ralf"), review_id, "unclaim"), 409, "review.not_claimed")
    done(act(person(tenant), review_id, "unclaim"), "pending")
    done(act(person(tenant, "ralf"), review_id, "approve"), "consumed")


def test_an_escalation_lets_others_decide_too(tenant: Tenant) -> None:
    review_id = held(tenant)
    admin = person(tenant, "adam", "tenant_admin")
    problem(act(admin, review_id, "approve"), 403, "review.role_missing")
    review = done(act(person(tenant), review_id, "escalate", reason="above me"), "pending")
    assert review["escalation"]["level"] == 2
    assert review["eligible"] == ["reviewer", "tenant_admin"]
    done(act(admin, review_id, "approve"), "consumed")


def test_the_agent_takes_back_what_it_asked_for(tenant: Tenant) -> None:
    review_id = held(tenant)
    problem(act(tenant.client("other"), review_id, "cancel"), 403, "review.not_requester")
    review = done(act(tenant.client(), review_id, "cancel", reason="not needed"), "cancelled")
    assert (review["closing"]["code"], review["closing"]["reason"]) == (
        "review.cancelled",
        "not needed",
    )
    problem(act(person(tenant), review_id, "approve"), 409, "review.closed")
    assert received(tenant) == []


def test_the_list_comes_in_pages_with_the_open_ones_first(tenant: Tenant) -> None:
    first, second, third = (held(tenant) for _ in range(3))
    done(act(person(tenant), first, "reject"), "rejected")
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 1, **({"cursor": cursor} if cursor else {})}
        page = person(tenant).get("/v1/reviews", params=params).json()
        seen += [review["review_id"] for review in page["reviews"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [second, third, first]
    bad = person(tenant).get("/v1/reviews", params={"cursor": "none of ours"})
    problem(bad, 422, "review.bad_cursor")
    for params in ({"limit": 0}, {"limit": 201}, {"state": "open"}, {"assignee": "No Id"}):
        problem(person(tenant).get("/v1/reviews", params=params), 422, "request.invalid")


# -- an approval that the agent uses itself -------------------------------------------------------


def test_an_approval_is_used_once_by_who_asked_for_exactly_what_was_approved(
    tenant: Tenant,
) -> None:
    tenant.bus.register("planner", tenant=tenant.name)
    review_id = asked(tenant)
    review = tenant.client().get(f"/v1/reviews/{review_id}").json()
    assert (review["review_id"], review["delivers"]) == (review_id, False)
    digest = review["action_digest"]
    planner = tenant.client()
    early = act(planner, review_id, "consume", action_digest=digest)
    problem(early, 409, "review.not_approved")
    done(act(person(tenant), review_id, "approve"), "approved")
    [notice] = received(tenant, "planner")
    assert notice["content"]["args"]["action_digest"] == digest
    stranger = act(tenant.client("other"), review_id, "consume", action_digest=digest)
    problem(stranger, 403, "review.not_requester")
    wrong = act(planner, review_id, "consume", action_digest=OTHER_DIGEST)
    problem(wrong, 409, "review.digest_mismatch")
    used = act(planner, review_id, "consume", action_digest=digest)
    assert used.status_code == httpx.codes.OK, used.text
    decision = used.json()
    assert (decision["effect"], decision["lane"]) == ("allow", "human")
    assert (decision["review_id"], decision["approvers"]) == (review_id, ["rita"])
    for body in (digest, OTHER_DIGEST):
        again = act(planner, review_id, "consume", action_digest=body)
        problem(again, 409, "review.consumed")
    assert found(tenant, review_id)["released_by"] == decision["decision_id"]
    assert proved(tenant, decision["decision_id"])["approvers"] == ["rita"]
    assert received(tenant) == [], "a decision alone delivers nothing"


def test_of_two_who_use_an_approval_at_once_one_may(tenant: Tenant) -> None:
    review_id = asked(tenant)
    digest = found(tenant, review_id)["action_digest"]
    done(act(person(tenant), review_id, "approve"), "approved")
    answers = at_once(
        *(
            partial(
                act, fresh(tenant, "planner", "agent"), review_id, "consume", action_digest=digest
            )
            for _ in range(4)
        )
    )
    ids = {one.json()["decision_id"] for one in answers if one.status_code == httpx.codes.OK}
    assert len(ids) == 1
    for answer in answers:
        if answer.status_code != httpx.codes.OK:
            problem(answer, 409, answer.json()["code"])
    again = act(tenant.client(), review_id, "consume", action_digest=digest)
    problem(again, 409, "review.consumed")


def test_what_the_bus_delivers_is_not_for_the_agent_to_use(tenant: Tenant) -> None:
    review_id = held(tenant)
    digest = found(tenant, review_id)["action_digest"]
    answer = act(tenant.client(), review_id, "consume", action_digest=digest)
    problem(answer, 409, "review.delivered_by_bus")


# -- who may not, and when not --------------------------------------------------------------------


def test_nobody_decides_on_what_they_or_an_agent_of_their_owner_asked_for(tenant: Tenant) -> None:
    both = tenant.client("planner", "agent", "reviewer")
    review_id = held(tenant)
    problem(act(both, review_id, "approve"), 403, "review.self_approval")
    sent = owned(tenant, "worker", "agent", owner="olga").post(
        "/v1/messages", json=a_body(content=DELETE)
    )
    assert sent.json()["effect"] == "review", sent.text
    of_olga = sent.json()["review"]["review_id"]
    for client in (
        person(tenant, "olga"),
        owned(tenant, "second", "reviewer", owner="olga"),
        owned(tenant, "worker", "reviewer", owner="somebody"),
    ):
        for verb in ("approve", "reject", "claim", "escalate"):
            problem(act(client, of_olga, verb), 403, "review.self_approval")
    assert found(tenant, of_olga)["version"] == 1
    done(act(owned(tenant, "third", "reviewer", owner="ralf"), of_olga, "approve"), "consumed")


def test_one_person_counts_once_under_however_many_tokens_and_names(tenant: Tenant) -> None:
    review_id = held(tenant, priority="critical")
    done(act(person(tenant), review_id, "approve"), "pending")
    for again in (
        fresh(tenant, "rita", "reviewer"),
        fresh(tenant, "rita", "tenant_admin"),
        owned(tenant, "rita-s-bot", "reviewer", owner="rita"),
    ):
        for verb in ("approve", "reject"):
            problem(act(again, review_id, verb), 409, "review.already_voted")
    assert len(found(tenant, review_id)["votes"]) == 1


def test_a_review_of_another_tenant_does_not_exist(tenant: Tenant) -> None:
    review_id = held(tenant)
    stranger = tenant.clients.enter_context(
        tenant.bus.client("rita", "reviewer", tenant=f"{tenant.name}-o")
    )
    for known in (review_id, "01a208aa-425a-7eb4-a81f-b7174136d94b"):
        answers = [stranger.get(f"/v1/reviews/{known}")]
        answers += [stranger.get(f"/v1/reviews/{known}/message")]
        answers += [
            act(stranger, known, verb) for verb in ("approve", "reject", "claim", "unclaim")
        ]
        answers += [act(stranger, known, "approve", if_match='"1"')]
        for answer in answers:
            assert problem(answer, 404, "review.not_found")["detail"].count(known) <= 1
    assert stranger.get("/v1/reviews").json() == {"reviews": [], "next_cursor": None}
    assert found(tenant, review_id)["version"] == 1


def test_each_door_asks_for_its_scope(tenant: Tenant) -> None:
    review_id = held(tenant)
    auditor, other = tenant.client("auditor", "auditor"), tenant.client("other")
    for verb in ("approve", "reject", "abstain", "claim", "unclaim", "escalate"):
        for client in (auditor, tenant.client()):
            problem(act(client, review_id, verb), 403, "auth.scope_missing")
    for client in (auditor, person(tenant)):
        problem(act(client, review_id, "cancel"), 403, "auth.scope_missing")
        answer = act(client, review_id, "consume", action_digest=OTHER_DIGEST)
        problem(answer, 403, "auth.scope_missing")
    done(auditor.get(f"/v1/reviews/{review_id}"), "pending")
    problem(auditor.get(f"/v1/reviews/{review_id}/message"), 403, "auth.scope_missing")
    for path in ("", "/stream", f"/{review_id}", "/01a208aa-425a-7eb4-a81f-b7174136d94b"):
        problem(other.get(f"/v1/reviews{path}"), 403, "auth.scope_missing")
    done(tenant.client().get(f"/v1/reviews/{review_id}"), "pending")


def test_who_is_revoked_or_stopped_decides_nothing(tenant: Tenant) -> None:
    review_id = held(tenant)
    operator = tenant.clients.enter_context(tenant.bus.client("op", "operator"))
    stop = {"scope": {"tenant": tenant.name, "agent": "ralf"}, "reason": "on leave"}
    operator.post("/v1/controls/kill", json=stop).raise_for_status()
    gone = {"tenant": tenant.name, "agent": "rita"}
    operator.post("/v1/controls/revoke", json=gone).raise_for_status()
    until(lambda: act(person(tenant), review_id, "claim").status_code == 401)
    problem(act(person(tenant), review_id, "approve"), 401, "auth.revoked")
    until(lambda: act(person(tenant, "ralf"), review_id, "unclaim").status_code == 403)
    problem(act(person(tenant, "ralf"), review_id, "approve"), 403, "control.killed")
    assert found(tenant, review_id)["votes"] == []
    refused = {(refusal["code"], refusal["agent"]) for refusal in tenant.account().refused}
    assert refused == {("auth.revoked", "rita"), ("control.killed", "ralf")}


def test_a_reason_is_given_and_bodies_are_sound(tenant: Tenant) -> None:
    review_id = held(tenant)
    rita = person(tenant)
    for verb in ("approve", "reject", "abstain", "escalate"):
        for body in (
            {},
            {"reason": ""},
            {"reason": "x" * 2001},
            {"reason": 1},
            {"reason": "x", "b": 1},
        ):
            answer = rita.post(f"/v1/reviews/{review_id}:{verb}", json=body)
            problem(answer, 422, "request.invalid")
        problem(act(rita, review_id, verb, reason=" \t "), 422, "review.reason_required")
        problem(rita.post(f"/v1/reviews/{review_id}:{verb}"), 400, "request.malformed_json")
    problem(act(rita, review_id, "approve", action_digest="x"), 422, "request.invalid")
    problem(rita.post("/v1/reviews/not an id:claim"), 422, "request.invalid")
    assert found(tenant, review_id)["version"] == 1


def test_a_vote_on_what_was_not_shown_is_refused(tenant: Tenant) -> None:
    review_id = held(tenant)
    answer = act(person(tenant), review_id, "approve", action_digest=OTHER_DIGEST)
    problem(answer, 409, "review.digest_mismatch")
    assert found(tenant, review_id)["votes"] == []


def test_only_the_version_that_was_read_is_decided_on(tenant: Tenant) -> None:
    review_id = held(tenant)
    stale = person(tenant).get(f"/v1/reviews/{review_id}").headers["etag"]
    fresh_tag = act(person(tenant), review_id, "claim", if_match=stale).headers["etag"]
    assert fresh_tag != stale
    for tag in (stale, f"W/{fresh_tag}", "x"):
        for verb in ("approve", "claim", "unclaim", "escalate"):
            answer = act(person(tenant), review_id, verb, if_match=tag)
            problem(answer, 412, "review.version_mismatch")
    done(act(person(tenant), review_id, "approve", if_match=f"{stale}, {fresh_tag}"), "consumed")


def test_of_two_votes_on_the_same_version_at_once_one_is_taken(tenant: Tenant) -> None:
    for _ in range(3):
        review_id = held(tenant, priority="critical")
        clients = [fresh(tenant, name, "reviewer") for name in ("rita", "ralf", "rosa")]
        answers = at_once(
            *(partial(act, client, review_id, "approve", if_match='"1"') for client in clients)
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412]
        assert len(found(tenant, review_id)["votes"]) == 1


def test_what_has_ended_is_decided_on_no_more(tenant: Tenant) -> None:
    approved, rejected = held(tenant), held(tenant)
    done(act(person(tenant), approved, "approve"), "consumed")
    done(act(person(tenant), rejected, "reject"), "rejected")
    for review_id, code in ((approved, "review.consumed"), (rejected, "review.closed")):
        for verb in ("approve", "reject", "abstain", "claim", "escalate"):
            for name in ("rita", "ralf"):
                problem(act(person(tenant, name), review_id, verb), 409, code)
        problem(act(person(tenant), review_id, "unclaim"), 409, "review.not_claimed")
        problem(act(tenant.client(), review_id, "cancel"), 409, code)
    assert len(received(tenant)) == 1


def test_what_nobody_decided_in_time_expires_and_the_agent_is_told(tenant: Tenant) -> None:
    tenant.bus.register("planner", tenant=tenant.name)
    review_id = held(tenant, ttl_seconds=1)
    until(lambda: found(tenant, review_id)["state"] == "expired")
    problem(act(person(tenant), review_id, "approve"), 409, "review.closed")
    [notice] = received(tenant, "planner")
    assert notice["content"]["args"]["state"] == "expired"
    assert received(tenant) == []


def test_of_two_reviewers_at_once_exactly_one_decides_and_the_other_is_told(
    tenant: Tenant,
) -> None:
    for _ in range(5):
        review_id = held(tenant)
        answers = at_once(
            partial(act, fresh(tenant, "rita", "reviewer"), review_id, "approve"),
            partial(act, fresh(tenant, "ralf", "reviewer"), review_id, "reject"),
        )
        statuses = [answer.status_code for answer in answers]
        assert sorted(statuses) == [200, 409], [answer.text for answer in answers]
        lost = next(answer for answer in answers if answer.status_code != httpx.codes.OK)
        approved = statuses[0] == httpx.codes.OK
        # Between the last vote and the release there is a moment in which it is approved.
        assert lost.json()["code"] in (
            {"review.consumed", "review.closed"} if approved else {"review.closed"}
        )
        problem(lost, 409, lost.json()["code"])
        review = found(tenant, review_id)
        assert len(review["votes"]) == 1
        assert review["state"] == ("consumed" if approved else "rejected")
        assert len(received(tenant)) == (review["state"] == "consumed")


def test_what_somebody_tried_and_may_not_is_on_record(tenant: Tenant) -> None:
    review_id = held(tenant, message_id="m1")
    act(tenant.client("planner", "reviewer"), review_id, "approve")
    act(person(tenant, "adam", "tenant_admin"), review_id, "approve")
    act(person(tenant), review_id, "approve", action_digest=OTHER_DIGEST)
    act(person(tenant), review_id, "approve", reason="")
    act(tenant.client(), review_id, "approve")
    act(person(tenant), "01a208aa-425a-7eb4-a81f-b7174136d94b", "approve")
    done(act(person(tenant), review_id, "reject"), "rejected")
    act(person(tenant), review_id, "reject")
    refused = tenant.account().refused
    assert [(refusal["code"], refusal["agent"]) for refusal in refused] == [
        ("review.self_approval", "planner"),
        ("review.role_missing", "adam"),
        ("review.digest_mismatch", "rita"),
        ("auth.scope_missing", "planner"),
        ("review.not_found", "rita"),
        ("review.closed", "rita"),
    ]


# -- the stream -----------------------------------------------------------------------------------


def events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events as their standard reads them; a comment is an event without a type."""
    event: dict[str, str] = {}
    for line in lines:
        if not line:
            yield event
            event = {}
        name, _, value = line.partition(": ")
        if line:
            event[name or "comment"] = value


def told(coming: Iterator[dict[str, str]], count: int) -> list[dict[str, str]]:
    """The next so many reviews that the stream tells of."""
    found: list[dict[str, str]] = []
    while len(found) < count:
        event = next(coming)
        if "comment" not in event:
            assert event["event"] == "review"
            found.append(event)
    return found


def lines_of(tenant: Tenant, after: str = "") -> Any:
    headers = {"Last-Event-ID": after} if after else {}
    return person(tenant, "reader").stream(
        "GET", "/v1/reviews/stream", headers=headers, timeout=PATIENCE_S
    )


@pytest.mark.timeout(120)
def test_a_stream_tells_every_step_as_it_is_taken_and_goes_on_where_it_ended(
    tenant: Tenant,
) -> None:
    with lines_of(tenant) as stream:
        assert stream.status_code == httpx.codes.OK
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        coming = events(stream.iter_lines())
        began = next(coming)
        assert began["retry"] == "1000"
        review_id = held(tenant)
        [opened] = told(coming, 1)
        data = json.loads(opened["data"])
        assert (data["review_id"], data["step"], data["state"], data["version"]) == (
            review_id,
            "open",
            "pending",
            1,
        )
        assert data["review"]["review_id"] == review_id
        done(act(person(tenant), review_id, "approve"), "consumed")
        voted, consumed = told(coming, 2)
        assert [json.loads(each["data"])["step"] for each in (voted, consumed)] == [
            "vote",
            "consume",
        ]
        while "comment" not in (beat := next(coming)):
            pass
        assert beat == {"comment": "still here"}
    for after, ids in (
        (began["id"], [opened["id"], voted["id"], consumed["id"]]),
        (opened["id"], [voted["id"], consumed["id"]]),
    ):
        with lines_of(tenant, after) as stream:
            coming = events(stream.iter_lines())
            assert next(coming)["id"] == after
            assert [event["id"] for event in told(coming, len(ids))] == ids


def test_a_stream_is_of_one_tenant_and_takes_no_strange_ids(tenant: Tenant) -> None:
    for strange in ("x", "1", "-1-0", "9" * 19 + "-0"):
        answer = person(tenant).get("/v1/reviews/stream", headers={"Last-Event-ID": strange})
        problem(answer, 422, "request.invalid")
    stranger = tenant.clients.enter_context(
        tenant.bus.client("rita", "reviewer", tenant=f"{tenant.name}-o")
    )
    with stranger.stream("GET", "/v1/reviews/stream", timeout=PATIENCE_S) as stream:
        coming = events(stream.iter_lines())
        next(coming)
        held(tenant)
        assert next(coming) == {"comment": "still here"}


# -- parts ----------------------------------------------------------------------------------------


def fresh(tenant: Tenant, agent: str, *roles: str) -> httpx.Client:
    """A client with a connection and a token of its own."""
    return tenant.clients.enter_context(tenant.bus.client(agent, *roles, tenant=tenant.name))


def at_once(*calls: Any) -> list[httpx.Response]:
    """Make these calls at the same moment; their answers in order."""
    barrier = threading.Barrier(len(calls))

    def call(one: Any) -> httpx.Response:
        barrier.wait(PATIENCE_S)
        answer: httpx.Response = one()
        return answer

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def until(is_so: Any) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not come to be"
        time.sleep(0.05)
