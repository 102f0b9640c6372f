"""The console over HTTP, without JavaScript: who gets in, what is shown, and what a form does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Final
from urllib.parse import urlencode

import httpx
import pytest
from integration.console_visitor import form, held, signed_in
from integration.doorstep import Tenant
from running import ROOT

pytestmark = pytest.mark.timeout(300)  # the first test also starts the bus

PAGE_BYTES_MAX: Final = 100_000
EVIL: Final = {
    "action": "crm.update",
    "tool": "crm.<script>alert(1)</script>",
    "args": {"name": "<script>alert(2)</script>", "mail": "anna.svensson@example.com"},
}


def read(client: httpx.Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert answer.headers["cache-control"] == "no-store"
    return answer.text


def vote(
    client: httpx.Client, review_id: str, choice: str, *, page: str, **changes: str
) -> httpx.Response:
    fields = {**form(page, "vote"), "choice": choice, "reason": "I looked", **changes}
    return client.post(f"/console/reviews/{review_id}/vote", data=fields)


def weight(client: httpx.Client, page: str) -> int:
    """What a browser loads for a page, as it travels."""
    size = len(page.encode())
    for url in set(re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page)):
        with client.stream("GET", url) as answer:
            assert answer.status_code == httpx.codes.OK
            size += sum(len(chunk) for chunk in answer.iter_raw())
    return size


def test_who_is_not_signed_in_sees_the_sign_in_page_and_nothing_else(tenant: Tenant) -> None:
    review_id = held(tenant)
    with httpx.Client(base_url=tenant.bus.url) as stranger:
        for path in ("", "decisions", "ledger", "agents", f"reviews/{review_id}", "stream"):
            page = read(stranger, f"/console/{path}", 401)
            assert "Sign in" in page
            assert "file.delete" not in page
        stranger.cookies.set("acgs_console", "A" * 43, path="/console")
        assert "your session has ended" in read(stranger, "/console/", 401)


def test_a_held_call_is_approved_by_a_plain_form(tenant: Tenant) -> None:
    review_id = held(tenant)
    rita = signed_in(tenant)
    assert f"/console/reviews/{review_id}" in read(rita, "/console/")
    page = read(rita, f"/console/reviews/{review_id}")
    assert "reports/q1.md" in page
    assert "What cannot be undone, what moves much" in page  # the principle behind the rule
    answer = vote(rita, review_id, "approve", page=page)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"/console/reviews/{review_id}?voted",
    )
    assert "Approved and gone" in read(rita, answer.headers["location"])
    [envelope] = tenant.receive(wait_s=10)
    assert envelope["message"]["content"]["args"] == {"path": "reports/q1.md"}
    assert f"/console/reviews/{review_id}" not in read(rita, "/console/")
    assert f"/console/reviews/{review_id}" in read(rita, "/console/?state=consumed&words=FILE")
    assert "Nothing here" in read(rita, "/console/?state=all&words=other")


def test_who_comes_second_is_told_who_decided_what(tenant: Tenant) -> None:
    review_id = held(tenant)
    rita, sam = signed_in(tenant), signed_in(tenant, "sam")
    page = read(sam, f"/console/reviews/{review_id}")
    first = read(rita, f"/console/reviews/{review_id}")
    assert vote(rita, review_id, "reject", page=first).status_code == httpx.codes.SEE_OTHER
    answer = vote(sam, review_id, "approve", page=page)
    assert answer.status_code == httpx.codes.PRECONDITION_FAILED
    assert "Nothing of yours was recorded." in answer.text
    assert re.search(r"rita rejected it at .*: “I looked”", answer.text)
    assert tenant.receive() == []


def test_a_claim_keeps_others_out_until_it_is_let_go(tenant: Tenant) -> None:
    review_id = held(tenant)
    rita, sam = signed_in(tenant), signed_in(tenant, "sam")
    path = f"/console/reviews/{review_id}"
    claimed = rita.post(f"{path}/claim", data=form(read(rita, path), "claim"))
    assert claimed.status_code == httpx.codes.SEE_OTHER
    assert 'action="' + path + '/vote"' not in read(sam, path)
    assert "claimed</span> by rita" in read(sam, "/console/")
    let_go = rita.post(f"{path}/unclaim", data=form(read(rita, path), "unclaim"))
    assert let_go.status_code == httpx.codes.SEE_OTHER
    raised = sam.post(
        f"{path}/escalate", data={**form(read(sam, path), "escalate"), "reason": "two see more"}
    )
    assert raised.status_code == httpx.codes.SEE_OTHER
    assert "tenant_admin" in read(sam, path)


def test_a_vote_without_its_reason_is_kept_on_the_page_and_not_counted(tenant: Tenant) -> None:
    review_id = held(tenant)
    rita = signed_in(tenant)
    page = read(rita, f"/console/reviews/{review_id}")
    for changes, status in (({"reason": " "}, 422), ({"choice": "maybe"}, 422)):
        answer = rita.post(
            f"/console/reviews/{review_id}/vote",
            data={**form(page, "vote"), "choice": "approve", "reason": "kept text", **changes},
        )
        assert answer.status_code == status, answer.text
        assert "Nothing of yours was recorded." in answer.text
    assert "kept text" in answer.text
    other = vote(rita, review_id, "approve", page=page, digest="sha256:" + "0" * 64)
    assert other.status_code == httpx.codes.CONFLICT
    assert tenant.receive() == []


@pytest.mark.parametrize("step", ["vote", "claim", "unclaim", "escalate", "break-glass", "reveal"])
def test_a_form_without_its_token_does_nothing(tenant: Tenant, step: str) -> None:
    review_id = held(tenant)
    rita = signed_in(tenant)
    fields = {"version": "1", "choice": "approve", "reason": "x"}
    answer = rita.post(f"/console/reviews/{review_id}/{step}", data=fields)
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert "console.form_refused" in answer.text
    page = read(rita, f"/console/reviews/{review_id}")
    foreign = rita.post(
        f"/console/reviews/{review_id}/{step}",
        data={**fields, **form(page, "vote")},
        headers={"Origin": "http://evil.test"},
    )
    assert foreign.status_code == httpx.codes.FORBIDDEN
    assert "pending" in read(rita, f"/console/reviews/{review_id}")


def test_another_tenants_review_does_not_exist(tenant: Tenant) -> None:
    review_id = held(tenant)
    stranger = Tenant(tenant.bus, "acme", tenant.clients)
    mallory = signed_in(stranger, "mallory")
    for path in (f"reviews/{review_id}", f"decisions/{review_id}", f"reviews/{review_id}/whole"):
        assert "file.delete" not in read(mallory, f"/console/{path}", 404)
    own = read(mallory, "/console/agents")
    fields = {**form(own, "sign-out"), "version": "1", "choice": "approve", "reason": "mine"}
    answer = mallory.post(f"/console/reviews/{review_id}/vote", data=fields)
    assert answer.status_code == httpx.codes.NOT_FOUND


def test_who_lacks_the_scope_is_told_which(tenant: Tenant) -> None:
    review_id = held(tenant)
    agent = signed_in(tenant, "planner", "agent")
    assert "reviews:read" in read(agent, "/console/", 403)
    assert "reviews:read" in read(agent, f"/console/reviews/{review_id}", 403)
    assert "ledger:read" in read(agent, "/console/ledger", 403)
    auditor = signed_in(tenant, "audrey", "auditor")
    page = read(auditor, f"/console/reviews/{review_id}")
    assert "reports/q1.md" not in page  # what would leave is for those who decide
    fields = {**form(page, "sign-out"), "version": "1", "choice": "approve", "reason": "x"}
    answer = auditor.post(f"/console/reviews/{review_id}/vote", data=fields)
    assert answer.status_code == httpx.codes.FORBIDDEN
    assert "acgs.local" in read(auditor, "/console/ledger")


def test_what_an_agent_wrote_is_escaped_and_masked_until_revealed(tenant: Tenant) -> None:
    review_id = held(tenant, **EVIL)
    rita = signed_in(tenant)
    path = f"/console/reviews/{review_id}"
    page = read(rita, path)
    for text in (page, read(rita, "/console/"), read(rita, f"/console/decisions/{review_id}")):
        assert "<script>alert" not in text
    assert "&lt;script&gt;alert(2)&lt;/script&gt;" in page
    assert "anna.svensson" not in page
    assert "[REDACTED:email]" in page
    whole = rita.get(f"{path}/whole")
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert "anna.svensson" not in whole.text
    assert whole.headers["x-content-type-options"] == "nosniff"
    revealed = rita.post(f"{path}/reveal", data=form(page, "reveal"))
    assert "anna.svensson@example.com" in revealed.text
    assert "That you looked is in the ledger." in revealed.text


def test_decisions_are_found_by_words_and_by_the_beginning_of_an_id(tenant: Tenant) -> None:
    review_id = held(tenant)
    allowed = tenant.send(message_id="order-66").json()["decision_id"]
    tenant.account()  # by then whatever came before is in the tree
    audrey = signed_in(tenant, "audrey", "auditor")
    for words, wanted in (
        ("DELETE planner", review_id),
        (review_id[:18], review_id),
        ("order-6", allowed),
        ("tool_held", review_id),
        ("web.search permitted planner", allowed),
    ):
        page = read(audrey, f"/console/decisions?{urlencode({'words': words})}")
        assert re.findall(r'href="/console/decisions/([^"]+)"', page) == [wanted], words
        assert re.search(r"Looked at \d+ decisions, back to .*; that is all of them", page)
    page = read(audrey, "/console/decisions?words=nothing+like+it")
    assert "No decision fits." in page
    hostile = read(audrey, "/console/decisions?words=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in hostile


def test_every_page_travels_in_less_than_100_kb(tenant: Tenant) -> None:
    for _ in range(60):
        held(tenant)
    review_id = held(tenant, **EVIL)
    boss = signed_in(tenant, "boss", "reviewer", "auditor")
    pages = [
        "",
        "?words=file",
        "decisions",
        "decisions?words=file",
        "sessions",
        "ledger",
        "agents",
        f"reviews/{review_id}",
        f"decisions/{review_id}",
    ]
    for path in pages:
        page = read(boss, f"/console/{path}")
        assert weight(boss, page) < PAGE_BYTES_MAX, path
    assert "Further on" in read(boss, "/console/")


def test_the_events_of_the_queue_go_on_behind_the_last_one_seen(tenant: Tenant) -> None:
    rita = signed_in(tenant)
    seen: list[str] = []
    for _ in range(2):
        headers = {"Last-Event-ID": seen[-1]} if seen else {}
        with rita.stream("GET", "/console/stream", headers=headers) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.iter_lines()
            if not seen:
                next(line for line in lines if line.startswith("id: "))
            review_id = held(tenant)
            event_id = ""
            for line in lines:
                if line.startswith("id: "):
                    event_id = line.removeprefix("id: ")
                if line.startswith(f"data: {review_id} "):
                    break
            seen.append(event_id)
    assert len(set(seen)) == 2


def test_who_signs_out_everywhere_follows_nothing_any_more(tenant: Tenant) -> None:
    rita, elsewhere = signed_in(tenant), signed_in(tenant)
    with elsewhere.stream("GET", "/console/stream") as answer:
        lines = answer.iter_lines()
        next(line for line in lines if line.startswith("id: "))
        gone = rita.post(
            "/console/sign-out-everywhere", data=form(read(rita, "/console/agents"), "sign-out")
        )
        assert gone.status_code == httpx.codes.SEE_OTHER
        held(tenant)
        assert [line for line in lines if line.startswith("data: ")] == []  # and it ends
    assert "your session has ended" in read(elsewhere, "/console/", 401)


def test_the_command_prints_a_link_that_works_once(tenant: Tenant) -> None:
    with httpx.Client(base_url=tenant.bus.url) as client:
        assert client.post("/console/tickets").status_code == httpx.codes.UNAUTHORIZED
        printed = _acgs(tenant, "console", "--as", "rita", "--tenant", tenant.name, "--ttl", "10m")
        url, _, code = printed.strip().partition("#")
        assert url == f"{tenant.bus.url}/console/sign-in"
        first = client.post("/console/sign-in", data={"code": code})
        assert first.status_code == httpx.codes.SEE_OTHER
        assert "<strong>rita</strong>" in read(client, "/console/")
        again = client.post("/console/sign-in", data={"code": code})
        assert again.status_code == httpx.codes.FORBIDDEN


def _acgs(tenant: Tenant, *words: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ACGS_")}
    settings = tenant.bus.settings
    ended = subprocess.run(
        [sys.executable, "-m", "serve_app.cli.main", *words],
        cwd=ROOT,
        env={
            **inherited,
            "ACGS_DATA_DIR": str(settings.data_dir),
            "ACGS_HTTP_PORT": str(settings.http_port),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
