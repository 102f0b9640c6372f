"""The console shows what critics said, and lets two admins break the glass by plain forms."""

from __future__ import annotations

import httpx
import pytest
from integration.console_visitor import form, held, signed_in
from integration.doorstep import Tenant
from integration.test_deliberation_http import bench, opine, published
from integration.test_reviews_http import found, received

pytestmark = pytest.mark.timeout(300)


def test_a_reviewer_reads_what_critics_said_and_takes_it_from_them(tenant: Tenant) -> None:
    bench(tenant, carl=2, cleo=1, cora=1)
    review_id = published(tenant)
    opine(tenant, review_id, "carl", reason="it <b>reads</b> well").raise_for_status()
    rita = signed_in(tenant)
    page = rita.get(f"/console/reviews/{review_id}").text
    assert "They may decide it before people do" in page
    assert "carl (weight 2), cleo (weight 1), cora (weight 1)" in page
    assert "it &lt;b&gt;reads&lt;/b&gt; well" in page
    fields = {**form(page, "vote"), "choice": "approve", "reason": "so it does"}
    answer = rita.post(f"/console/reviews/{review_id}/vote", data=fields)
    assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
    assert found(tenant, review_id)["state"] == "consumed"


def test_two_admins_break_the_glass_and_a_reviewer_looks_at_it(tenant: Tenant) -> None:
    review_id = held(tenant)
    path = f"/console/reviews/{review_id}"
    rita = signed_in(tenant)
    assert "Break the glass" not in rita.get(path).text
    for name in ("tina", "tom"):
        admin = signed_in(tenant, name, "tenant_admin")
        fields = {**form(admin.get(path).text, "break-glass"), "reason": "the disk is full"}
        answer = admin.post(f"{path}/break-glass", data=fields)
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
        done = admin.get(answer.headers["location"]).text
        assert "Break the glass" not in done
        assert f"{name} broke the glass" in done
    assert "The glass is broken and it is gone." in done
    assert len(received(tenant)) == 1
    (waits,) = (
        tenant.client("reader", "reviewer")
        .get("/v1/reviews", params={"state": "pending"})
        .json()["reviews"]
    )
    page = rita.get(f"/console/reviews/{waits['review_id']}").text
    assert f'href="/console/reviews/{review_id}">what went without its quorum' in page
    assert "tina, tom cannot decide here" in page
    fields = {**form(page, "vote"), "choice": "approve", "reason": "they had to"}
    answer = rita.post(f"/console/reviews/{waits['review_id']}/vote", data=fields)
    assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
    assert found(tenant, waits["review_id"])["state"] == "consumed"
    assert received(tenant) == []
