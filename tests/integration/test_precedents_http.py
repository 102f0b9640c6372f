"""What is like a review, over HTTP, in the console and in a terminal; and one word on all of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import Any, Final

import httpx
import pytest
from integration.console_visitor import form, signed_in
from integration.doorstep import Tenant, bus_signer, claims, problem
from running import ROOT, a_body

from serve_app.cli.exits import Exit

pytestmark = pytest.mark.timeout(300)  # the first test also starts the bus

PATIENCE_S: Final = 30.0
MANY: Final = 203
OTHER_DIGEST: Final = "sha256:" + "0" * 64
Ask = dict[str, Any]


def delete(path: str = "reports/q1.md") -> Ask:
    return {"action": "file.delete", "tool": "file.delete", "args": {"path": path}}


def held(tenant: Tenant, content: Ask | None = None, *, agent: str = "planner") -> dict[str, Any]:
    """Send what the default policy holds for one reviewer; return its review."""
    answer = tenant.send(agent=agent, content=content or delete())
    assert answer.json()["effect"] == "review", answer.text
    return found(tenant, answer.json()["review"]["review_id"])


def person(tenant: Tenant, name: str = "rita", *roles: str) -> httpx.Client:
    return tenant.client(name, *(roles or ("reviewer",)))


def owned(tenant: Tenant, sub: str, *roles: str, owner: str) -> httpx.Client:
    """A client whose token says who answers for it."""
    said: dict[str, Any] = claims(tenant.bus, tenant.name, sub=sub, roles=list(roles), owner=owner)
    return tenant.with_token(bus_signer(tenant.bus).token(**said))


def found(tenant: Tenant, review_id: str) -> dict[str, Any]:
    answer = person(tenant, "reader").get(f"/v1/reviews/{review_id}")
    assert answer.status_code == httpx.codes.OK, answer.text
    review: dict[str, Any] = answer.json()
    return review


def act(client: httpx.Client, review_id: str, verb: str, **body: object) -> dict[str, Any]:
    said = {"reason": "because", **body} if verb != "claim" else None
    answer = client.post(f"/v1/reviews/{review_id}:{verb}", json=said)
    assert answer.status_code == httpx.codes.OK, answer.text
    review: dict[str, Any] = answer.json()
    return review


def precedents(tenant: Tenant, review_id: str, **params: Any) -> list[dict[str, Any]]:
    path = f"/v1/reviews/{review_id}/precedents"
    answer = person(tenant, "reader").get(path, params=params)
    assert answer.status_code == httpx.codes.OK, answer.text
    listed: list[dict[str, Any]] = answer.json()["precedents"]
    return listed


def bulk(client: httpx.Client, verb: str, digest: str, **body: Any) -> dict[str, Any]:
    said = {"reason": "all of them", "action_digest": digest, **body}
    answer = client.post(f"/v1/reviews:{verb}", json=said)
    assert answer.status_code == httpx.codes.OK, answer.text
    votes: dict[str, Any] = answer.json()
    return votes


def states(votes: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (one["review_id"], one["problem"]["code"] if one["problem"] else one["review"]["state"])
        for one in votes["results"]
    ]


# -- precedents -----------------------------------------------------------------------------------


def test_how_the_same_ended_before_is_told_with_what_is_alike_and_who_decided(
    tenant: Tenant,
) -> None:
    rejected = held(tenant)
    act(person(tenant), rejected["review_id"], "reject", reason="it is still needed")
    approved = held(tenant, delete("reports/q2.md"))
    act(person(tenant, "sam"), approved["review_id"], "approve")
    other = held(tenant, delete("reports/q3.md"), agent="sender")
    act(person(tenant), other["review_id"], "reject")
    asked = held(tenant)
    first, second, third = precedents(tenant, asked["review_id"])
    assert first["review_id"] == rejected["review_id"]
    assert (first["state"], first["score"], first["agent"]) == ("rejected", 1.0, "planner")
    assert first["same"] == ["tool", "rules", "shape", "action", "agent"]
    assert (first["approved_by"], first["rejected_by"]) == ([], ["rita"])
    assert first["closing"]["code"] == "review.rejected"
    assert first["closing"]["reason"] == "it is still needed"
    assert first["ended_at"] == first["closing"]["at"]
    assert first["afterwards"] is None
    assert second["review_id"] == approved["review_id"]
    assert (second["state"], second["approved_by"]) == ("consumed", ["sam"])
    assert second["same"] == ["tool", "rules", "shape", "agent"]
    assert (third["review_id"], third["score"]) == (other["review_id"], 0.8)
    assert [one["review_id"] for one in precedents(tenant, asked["review_id"], limit=1)] == [
        rejected["review_id"]
    ]


def test_precedents_tell_nothing_of_what_the_arguments_say(tenant: Tenant) -> None:
    ended = held(tenant, delete("reports/very-secret-name.md"))
    act(person(tenant), ended["review_id"], "reject")
    asked = held(tenant)
    answer = person(tenant).get(f"/v1/reviews/{asked['review_id']}/precedents")
    assert ended["review_id"] in answer.text
    assert "very-secret" not in answer.text
    assert "very-secret" not in str(found(tenant, ended["review_id"])["shape"])


def test_another_tenants_reviews_are_no_precedents(bus: Any, tenant: Tenant) -> None:
    foreign = held(Tenant(bus, "acme", tenant.clients))
    act(
        tenant.clients.enter_context(bus.client("rita", "reviewer")), foreign["review_id"], "reject"
    )
    asked = held(tenant)
    assert precedents(tenant, asked["review_id"]) == []
    answer = person(tenant).get(f"/v1/reviews/{foreign['review_id']}/precedents")
    problem(answer, 404, "review.not_found")


def test_precedents_are_for_those_who_may_read_reviews(tenant: Tenant) -> None:
    review_id = held(tenant)["review_id"]
    path = f"/v1/reviews/{review_id}/precedents"
    problem(tenant.client("planner").get(path), 403, "auth.scope_missing")
    for limit in (0, 21):
        problem(person(tenant).get(path, params={"limit": limit}), 422, "request.invalid")
    problem(person(tenant).get("/v1/reviews/nobody/precedents"), 404, "review.not_found")


# -- one word on all of it ------------------------------------------------------------------------


def test_one_word_lets_go_of_all_that_is_the_same_and_of_nothing_else(tenant: Tenant) -> None:
    same = [held(tenant) for _ in range(3)]
    other = held(tenant, delete("reports/q2.md"))
    of_another_agent = held(tenant, agent="sender")
    digest = same[0]["action_digest"]
    assert {one["action_digest"] for one in same} == {digest}
    votes = bulk(person(tenant), "approve", digest)
    assert states(votes) == [(one["review_id"], "consumed") for one in same]
    assert (votes["more"], votes["next_cursor"]) == (False, None)
    for left in (other, of_another_agent):
        assert found(tenant, left["review_id"])["state"] == "pending"
    delivered: list[dict[str, Any]] = []
    ends_s = time.monotonic() + PATIENCE_S
    while len(delivered) < 3 and time.monotonic() < ends_s:
        delivered += tenant.receive(wait_s=5)
    assert len(delivered) == 3
    assert bulk(person(tenant), "approve", digest)["results"] == []


def test_one_word_rejects_all_that_is_the_same(tenant: Tenant) -> None:
    same = [held(tenant)["review_id"] for _ in range(2)]
    votes = bulk(person(tenant), "reject", found(tenant, same[0])["action_digest"])
    assert states(votes) == [(one, "rejected") for one in same]
    closing = found(tenant, same[1])["closing"]
    assert (closing["by"], closing["reason"]) == ("rita", "all of them")
    assert tenant.receive() == []


def test_one_that_is_refused_fails_alone(tenant: Tenant) -> None:
    same = [held(tenant)["review_id"] for _ in range(3)]
    act(person(tenant, "sam"), same[1], "claim")
    votes = bulk(person(tenant), "reject", found(tenant, same[0])["action_digest"])
    assert states(votes) == [
        (same[0], "rejected"),
        (same[1], "review.claimed"),
        (same[2], "rejected"),
    ]
    refused = votes["results"][1]
    assert refused["review"] is None
    assert refused["problem"]["status"] == httpx.codes.CONFLICT
    assert refused["problem"]["request_id"]
    assert found(tenant, same[1])["state"] == "claimed"


def test_nobody_decides_all_at_once_on_what_they_asked_for_and_each_try_is_recorded(
    tenant: Tenant,
) -> None:
    sender = owned(tenant, "planner", "agent", owner="olga")
    same = []
    for _ in range(2):
        answer = sender.post("/v1/messages", json=a_body(content=delete())).json()
        same.append(answer["review"]["review_id"])
    olga = owned(tenant, "olga", "reviewer", owner="olga")
    votes = bulk(olga, "approve", found(tenant, same[0])["action_digest"])
    assert states(votes) == [(one, "review.self_approval") for one in same]
    assert [found(tenant, one)["state"] for one in same] == ["pending", "pending"]
    assert tenant.account().codes.count("review.self_approval") == 2


def test_what_is_wrong_with_the_whole_call_is_one_problem(tenant: Tenant) -> None:
    digest = held(tenant)["action_digest"]
    rita = person(tenant)
    for body, status, code in (
        ({"reason": "x"}, 422, "request.invalid"),
        ({"action_digest": digest}, 422, "request.invalid"),
        ({"action_digest": "sha256:0", "reason": "x"}, 422, "request.invalid"),
        ({"action_digest": digest, "reason": "x", "more": 1}, 422, "request.invalid"),
        ({"action_digest": digest, "reason": "\u200b"}, 422, "review.reason_required"),
        ({"action_digest": digest, "reason": "x", "cursor": "?"}, 422, "review.bad_cursor"),
    ):
        for verb in ("approve", "reject"):
            problem(rita.post(f"/v1/reviews:{verb}", json=body), status, code)
    said = {"action_digest": digest, "reason": "x"}
    refused = tenant.client("planner").post("/v1/reviews:approve", json=said)
    problem(refused, 403, "auth.scope_missing")
    assert bulk(rita, "approve", OTHER_DIGEST)["results"] == []


def test_a_decision_that_asked_only_is_approved_by_the_same_word_and_waits_for_its_agent(
    tenant: Tenant,
) -> None:
    asked = tenant.client().post("/v1/decisions", json=a_body(content=delete())).json()
    sent = held(tenant)["review_id"]
    review = found(tenant, asked["review"]["review_id"])
    votes = bulk(person(tenant), "approve", review["action_digest"])
    assert states(votes) == [(review["review_id"], "approved")]  # delivering is another action
    assert found(tenant, sent)["state"] == "pending"


def test_more_than_a_call_takes_are_decided_by_the_next_one(tenant: Tenant) -> None:
    bodies = [a_body(content=delete()) for _ in range(MANY)]
    answer = tenant.client().post("/v1/messages:batch", json={"messages": bodies}, timeout=60)
    results = answer.json()["results"]
    assert {result["effect"] for result in results} == {"review"}
    review = found(tenant, results[0]["review"]["review_id"])
    rita = tenant.clients.enter_context(
        httpx.Client(base_url=tenant.bus.url, headers=person(tenant).headers, timeout=60)
    )
    decided: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        votes = bulk(rita, "reject", review["action_digest"], **more)
        assert len(votes["results"]) <= 200
        decided += states(votes)
        cursor = votes["next_cursor"]
        if not votes["more"]:
            break
        assert cursor is not None
    assert len(decided) == MANY
    assert {state for _, state in decided} == {"rejected"}
    assert len({review_id for review_id, _ in decided}) == MANY


# -- in the console -------------------------------------------------------------------------------


def read(client: httpx.Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert len(answer.content) < 100_000
    return answer.text


def test_a_reviews_page_tells_how_it_went_before(tenant: Tenant) -> None:
    asked = held(tenant)["review_id"]
    rita = signed_in(tenant)
    assert "Nothing like it has ended in the last 30 days." in read(
        rita, f"/console/reviews/{asked}"
    )
    ended = held(tenant)["review_id"]
    act(person(tenant, "sam"), ended, "reject", reason="<script>alert(1)</script> \u202e no")
    page = read(rita, f"/console/reviews/{asked}")
    before = page.partition("How it went before")[2]
    assert f'href="/console/reviews/{ended}"' in before
    assert "100% alike: the very same action" in before
    assert "rejected by sam" in before
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\u202e no" in before
    assert "\u202e" not in page


def test_all_that_is_the_same_is_decided_from_one_page_without_javascript(tenant: Tenant) -> None:
    alone = held(tenant, delete("reports/q2.md"))["review_id"]
    same = [held(tenant)["review_id"] for _ in range(3)]
    rita = signed_in(tenant)
    assert "The same again" not in read(rita, f"/console/reviews/{alone}")
    page = read(rita, f"/console/reviews/{same[0]}")
    assert "2 others are open about exactly this action" in page
    act(person(tenant, "sam"), same[1], "claim")
    fields = {**form(page, "same"), "choice": "approve", "reason": "all archived"}
    answer = rita.post(f"/console/reviews/{same[0]}/same", data=fields)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert "2 of your votes are recorded (approve), 1 was refused" in answer.text
    assert "<code>review.claimed</code>" in answer.text
    assert [found(tenant, one)["state"] for one in same] == ["consumed", "claimed", "consumed"]
    page = read(rita, f"/console/reviews/{same[1]}")
    assert "The same again" not in page
    assert found(tenant, alone)["state"] == "pending"


def test_the_form_for_all_does_nothing_without_its_token_or_for_another_action(
    tenant: Tenant,
) -> None:
    same = [held(tenant)["review_id"] for _ in range(2)]
    rita = signed_in(tenant)
    path = f"/console/reviews/{same[0]}"
    fields = {**form(read(rita, path), "same"), "choice": "approve", "reason": "x"}
    for changes, status, code in (
        ({"csrf": ""}, 403, "console.form_refused"),
        ({"digest": OTHER_DIGEST}, 409, "review.digest_mismatch"),
        ({"choice": "abstain"}, 422, "request.invalid"),
        ({"reason": " "}, 422, "review.reason_required"),
        ({"cursor": "?"}, 422, "review.bad_cursor"),
    ):
        answer = rita.post(f"{path}/same", data={**fields, **changes})
        assert answer.status_code == status, answer.text
        assert code in answer.text
    auditor = signed_in(tenant, "anna", "auditor")
    page = read(auditor, path)
    assert "1 other is open about exactly this action" in page
    assert not re.search(r'action="[^"]*/same"', page)
    assert [found(tenant, one)["state"] for one in same] == ["pending", "pending"]


# -- in a terminal --------------------------------------------------------------------------------


def shell(tenant: Tenant, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `acgs reviews` as rita, in a process of its own."""
    settings = tenant.bus.settings
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("ACGS_")}
    where = {"ACGS_DATA_DIR": str(settings.data_dir), "ACGS_HTTP_PORT": str(settings.http_port)}
    who = ("--tenant", tenant.name, "--as", "rita")
    return subprocess.run(
        [sys.executable, "-m", "serve_app.cli.main", "reviews", *words, *who],
        cwd=ROOT,
        env={**inherited, **where},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_terminal_shows_how_it_went_before_and_decides_on_all_of_one_action(
    tenant: Tenant,
) -> None:
    ended = held(tenant)["review_id"]
    act(person(tenant, "sam"), ended, "reject", reason="still needed")
    same = [held(tenant) for _ in range(2)]
    shown = shell(tenant, "show", same[0]["review_id"]).stdout
    assert "how it went before:" in shown
    assert f"rejected  {ended}, 100% alike: the very same action" in shown
    assert "rejected by sam: still needed" in shown
    digest = same[0]["action_digest"]
    act(person(tenant, "sam"), same[0]["review_id"], "claim")
    done = shell(tenant, "approve", "--digest", digest, "--reason", "archived")
    assert f"refused   {same[0]['review_id']}, review.claimed" in done.stdout
    assert f"consumed  {same[1]['review_id']}" in done.stdout
    assert "1 of 2 votes were refused" in done.stderr
    assert done.returncode == Exit.REFUSED
    assert shell(tenant, "approve", "--reason", "archived").returncode == Exit.USAGE
    none = shell(tenant, "reject", "--digest", OTHER_DIGEST, "--reason", "no", "-o", "json")
    assert (none.returncode, none.stdout.split()) == (0, ["{", '"results":', "[]", "}"])
    assert "nothing is open" in none.stderr
