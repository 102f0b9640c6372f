"""Who gets into the console, by which forms, and what every page carries."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
from console_house import BASE, House, csrf_of, told
from structlog.testing import capture_logs

from cluster.settings import Environment
from policies.controls import Kill, KillScope
from serve_app.console.pages import COOKIE, SECURITY
from serve_app.console.sessions import SESSIONS_MAX

from builders import a_review

SOUND: Final = "__sound__"  # stands for the form token of the session


def test_a_code_signs_in_once_and_the_browser_never_sees_the_token(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        token = house.token()
        bearer = {"Authorization": f"Bearer {token}"}
        answer = await client.post("/console/tickets", headers=bearer)
        assert answer.json().keys() == {"code", "expires_in_s"}
        code = answer.json()["code"]
        first = await client.post("/console/sign-in", data={"code": code})
        assert (first.status_code, first.headers["location"]) == (303, "/console/")
        cookie = first.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict", "Path=/console", "Max-Age=3600"):
            assert part in cookie
        assert "Secure" not in cookie
        for other in (answer.text, cookie):
            assert token not in other
        assert (await client.get("/console/agents")).status_code == httpx.codes.OK
        again = await client.post("/console/sign-in", data={"code": code})
        assert again.status_code == httpx.codes.FORBIDDEN
        assert "was used" in again.text

    told(tmp_path, story)


def test_a_code_is_worth_nothing_after_a_minute(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        code = await house.sessions.ticket(house.token())
        house.clock.forward(61)
        answer = await client.post("/console/sign-in", data={"code": code})
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "set-cookie" not in answer.headers

    told(tmp_path, story)


def test_the_store_alone_gives_nobody_a_session_or_a_token(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        token = house.token().encode()
        handle = client.cookies[COOKIE]
        for key, (value, _) in house.store.kept.items():
            assert handle not in key
            assert token not in value
            assert token.split(b".")[1] not in value
            name = key.rpartition(":")[2]
            assert await house.sessions.token(name) is None
        for key, (value, ends_s) in list(house.store.kept.items()):
            house.store.kept[key] = value[:-1] + bytes([value[-1] ^ 1]), ends_s
        assert (await client.get("/console/agents")).status_code == httpx.codes.UNAUTHORIZED

    told(tmp_path, story)


def test_outside_dev_the_cookie_is_for_https_only(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        answer = await house.signed_in(client)
        assert "; Secure" in answer.headers["set-cookie"]

    told(tmp_path, story, env=Environment.PRODUCTION)


@pytest.mark.parametrize("cookie", ["", "forged", "A" * 43, "../../etc", "é"])
def test_who_has_no_session_is_asked_to_sign_in(tmp_path: Path, cookie: str) -> None:
    async def story(_: House, client: httpx.AsyncClient) -> None:
        headers = {"Cookie": f"{COOKIE}={cookie}".encode()} if cookie else {}
        answer = await client.get("/console/", headers=headers)
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert "Sign in with a code" in answer.text
        assert "rita" not in answer.text

    told(tmp_path, story)


def test_a_session_ends_with_its_token(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client, ttl_s=600)
        house.clock.forward(599)
        assert (await client.get("/console/agents")).status_code == httpx.codes.OK
        house.clock.forward(2)
        assert (await client.get("/console/agents")).status_code == httpx.codes.UNAUTHORIZED

    told(tmp_path, story)


def test_a_revoked_person_is_signed_out(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        house.controls = house.controls.with_revoked_agent("acme", "rita")
        answer = await client.get("/console/agents")
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert "was revoked" in answer.text
        assert f'{COOKIE}=""' in answer.headers["set-cookie"]

    told(tmp_path, story)


def test_who_is_stopped_by_an_operator_sees_why_and_nothing_else(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        scope = KillScope(tenant="acme")
        kill = Kill(scope=scope, reason="an incident", by="olivia", at=house.clock.now())
        house.controls = house.controls.with_kill(kill)
        answer = await client.get("/console/reviews/decision-1")
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "an incident" in answer.text
        assert "email.send" not in answer.text

    told(tmp_path, story)


def test_what_an_agent_wrote_stays_text(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        page = (await client.get("/console/reviews/decision-1")).text
        assert "<b>" not in page
        assert "&lt;b&gt;bold\\u202e&lt;/b&gt;" in page

    told(tmp_path, story)


def test_signing_out_ends_the_session_everywhere(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        handle = client.cookies[COOKIE]
        page = await client.get("/console/agents")
        gone = await client.post("/console/sign-out", data={"csrf": csrf_of(page.text)})
        assert gone.status_code == httpx.codes.SEE_OTHER
        assert await house.sessions.token(handle) is None

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": SOUND}, {"Origin": "http://evil.test"}),
        ({"csrf": SOUND}, {"Origin": "null"}),
        ({"csrf": SOUND}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": SOUND}, {"Sec-Fetch-Site": "same-site"}),
    ],
)
def test_a_form_that_is_not_from_this_session_is_refused(
    tmp_path: Path, data: dict[str, str], headers: dict[str, str]
) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        sound = csrf_of((await client.get("/console/agents")).text)
        sent = {name: sound if value == SOUND else value for name, value in data.items()}
        answer = await client.post("/console/sign-out", data=sent, headers=headers)
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "console.form_refused" in answer.text
        assert (await client.get("/console/agents")).status_code == httpx.codes.OK
        right = await client.post(
            "/console/sign-out", data={"csrf": sound}, headers={"Origin": BASE}
        )
        assert right.status_code == httpx.codes.SEE_OTHER

    told(tmp_path, story)


def test_a_person_has_ten_sessions_and_one_more_ends_the_oldest(tmp_path: Path) -> None:
    async def story(house: House, _: httpx.AsyncClient) -> None:
        browsers = [house.client() for _ in range(SESSIONS_MAX + 1)]
        for number, browser in enumerate(browsers):
            await house.signed_in(browser)
            house.clock.forward(1)
            assert (await browsers[0].get("/console/agents")).status_code == (
                httpx.codes.OK if number < SESSIONS_MAX else httpx.codes.UNAUTHORIZED
            )
        page = await browsers[1].get("/console/sessions")
        assert page.text.count("<li>since ") == SESSIONS_MAX
        assert page.text.count("(this one)") == 1
        for browser in browsers:
            await browser.aclose()

    told(tmp_path, story)


def test_who_signs_out_everywhere_ends_every_session_of_theirs_and_nobody_elses(
    tmp_path: Path,
) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        async with house.client() as other, house.client() as stranger:
            await house.signed_in(other)
            await house.signed_in(stranger, agent="sam")
            sound = csrf_of((await client.get("/console/sessions")).text)
            refused = await other.post("/console/sign-out-everywhere", data={"csrf": sound})
            assert refused.status_code == httpx.codes.FORBIDDEN
            done = await client.post("/console/sign-out-everywhere", data={"csrf": sound})
            assert (done.status_code, done.headers["location"]) == (303, "/console/sign-in")
            for browser in (client, other):
                gone = await browser.get("/console/agents")
                assert gone.status_code == httpx.codes.UNAUTHORIZED
            assert (await stranger.get("/console/agents")).status_code == httpx.codes.OK

    told(tmp_path, story)


def test_two_sessions_do_not_share_their_forms(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        mine = csrf_of((await client.get("/console/agents")).text)
        async with house.client() as other:
            await house.signed_in(other)
            assert csrf_of((await other.get("/console/agents")).text) != mine
            refused = await other.post("/console/sign-out", data={"csrf": mine})
            assert refused.status_code == httpx.codes.FORBIDDEN

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"code=a&code=b", 400),
        (b"code=%ff", 400),
        (b"code=" + b"a" * 70_000, 413),
        (b'{"code": "a"}', 415),
    ],
)
def test_what_is_no_form_of_ours_is_refused(tmp_path: Path, content: bytes, status: int) -> None:
    kind = "application/json" if status == 415 else "application/x-www-form-urlencoded"

    async def story(_: House, client: httpx.AsyncClient) -> None:
        answer = await client.post(
            "/console/sign-in", content=content, headers={"Content-Type": kind}
        )
        assert answer.status_code == status

    told(tmp_path, story)


def test_every_page_and_every_error_carries_the_security_headers(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        pages = [await client.get("/console/"), await client.get("/console/sign-in")]
        pages.append(await house.signed_in(client))
        paths = ("agents", "ledger", "nowhere", "reviews/%20")
        pages += [await client.get(f"/console/{path}") for path in paths]
        house.store.down = True
        pages.append(await client.get("/console/agents"))
        assert pages[-1].status_code == httpx.codes.SERVICE_UNAVAILABLE
        for page in pages:
            for name, value in SECURITY.items():
                assert page.headers[name] == value, page.url
        policy = SECURITY["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'; script-src 'self';")

    told(tmp_path, story)


def test_who_reveals_what_was_masked_is_on_record_and_what_it_was_is_not(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        page = await client.get("/console/reviews/decision-1")
        assert "anna.svensson" not in page.text
        assert 'data-after="7-0"' in page.text
        assert house.revealed == []
        with capture_logs() as logs:
            revealed = await client.post(
                "/console/reviews/decision-1/reveal", data={"csrf": csrf_of(page.text)}
            )
        assert "anna.svensson@example.com" in revealed.text
        assert house.revealed == [("rita", "decision-1", a_review().action_digest, "email")]
        [event] = [one for one in logs if one["event"] == "review.revealed"]
        assert (event["by"], event["tenant"], event["review_id"]) == ("rita", "acme", "decision-1")
        assert "anna" not in str(event)

    told(tmp_path, story)


def test_the_api_masks_as_the_page_does_and_reveals_on_record(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        bearer = {"Authorization": f"Bearer {house.token()}"}
        path = "/v1/reviews/decision-1/message"
        masked = (await client.get(path, headers=bearer)).json()
        assert masked["message"]["content"] == {"args": {"mail": "[REDACTED:email]"}}
        assert (masked["masked"], masked["revealed"]) == (["email"], False)
        assert house.revealed == []
        for no in ("false", "0"):
            answer = await client.get(path, headers=bearer, params={"reveal": no})
            assert answer.json() == masked
        answer = await client.get(path, headers=bearer, params={"reveal": "true"})
        assert answer.headers["cache-control"] == "no-store"
        shown = answer.json()
        assert shown["message"]["content"] == house.content
        assert (shown["masked"], shown["revealed"]) == (["email"], True)
        assert len(house.revealed) == 1
        reader = {"Authorization": f"Bearer {house.token('auditor')}"}
        refused = await client.get(path, headers=reader, params={"reveal": "true"})
        assert refused.status_code == httpx.codes.FORBIDDEN
        assert len(house.revealed) == 1

    told(tmp_path, story)


def test_what_cannot_be_recorded_is_not_revealed(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        await house.signed_in(client)
        sound = csrf_of((await client.get("/console/reviews/decision-1")).text)
        house.ledger_down = True
        bearer = {"Authorization": f"Bearer {house.token()}"}
        answers = [
            await client.post("/console/reviews/decision-1/reveal", data={"csrf": sound}),
            await client.get("/v1/reviews/decision-1/message?reveal=true", headers=bearer),
        ]
        for answer in answers:
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert "anna.svensson" not in answer.text

    told(tmp_path, story)


def test_where_nothing_is_private_nothing_is_revealed(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        house.content = {"args": {"path": "reports/q1.md"}}
        house.ledger_down = True  # it is not even asked
        bearer = {"Authorization": f"Bearer {house.token()}"}
        answer = await client.get("/v1/reviews/decision-1/message?reveal=true", headers=bearer)
        said = answer.json()
        assert said["message"]["content"] == house.content
        assert (said["masked"], said["revealed"]) == ([], False)

    told(tmp_path, story)


def test_the_way_on_leads_through_what_one_may_decide_and_begins_again(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        now = house.clock.now()
        sound = {"expires_at": now + timedelta(hours=1)}
        house.others = [
            a_review(review_id="older", opened_at=now - timedelta(minutes=1), **sound),
            a_review(review_id="own", opened_at=now + timedelta(minutes=1), agent="rita", **sound),
            a_review(review_id="newer", opened_at=now + timedelta(minutes=2), **sound),
        ]
        await house.signed_in(client)
        way = ["decision-1"]
        for _step in range(3):
            answer = await client.get(f"/console/reviews/{way[-1]}/next")
            assert answer.status_code == httpx.codes.SEE_OTHER
            way.append(answer.headers["location"].removeprefix("/console/reviews/"))
        assert way == ["decision-1", "newer", "older", "decision-1"]
        house.others = []
        done = await client.get("/console/reviews/decision-1/next")
        assert done.headers["location"] == "/console/?done"
        unknown = await client.get("/console/reviews/unknown/next")
        assert unknown.status_code == httpx.codes.NOT_FOUND

    told(tmp_path, story)


def test_who_may_not_decide_is_led_back_to_the_queue(tmp_path: Path) -> None:
    async def story(house: House, client: httpx.AsyncClient) -> None:
        house.others = [a_review(review_id="other", opened_at=house.clock.now())]
        code = await house.sessions.ticket(house.token("auditor"))
        await client.post("/console/sign-in", data={"code": code})
        answer = await client.get("/console/reviews/decision-1/next")
        assert answer.headers["location"] == "/console/?done"

    told(tmp_path, story)


def test_no_page_has_a_script_or_a_style_of_its_own() -> None:
    folder = Path(__file__).resolve().parents[2] / "serve_app" / "console" / "templates"
    templates = sorted(folder.glob("*.html"))
    assert templates
    for template in templates:
        text = template.read_text()
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
        assert "|safe" not in text.replace(" ", ""), template
        assert "autoescape" not in text, template


def test_an_asset_is_kept_for_ever_under_its_digest(tmp_path: Path) -> None:
    async def story(_: House, client: httpx.AsyncClient) -> None:
        page = (await client.get("/console/sign-in")).text
        for url in re.findall(r'"(/console/static/[^"]+)"', page):
            answer = await client.get(url)
            assert answer.status_code == httpx.codes.OK
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-encoding"] == "gzip"
            plain = await client.get(url, headers={"Accept-Encoding": "identity"})
            assert plain.content == answer.content
        missing = await client.get("/console/static/0000/console.css")
        assert missing.status_code == httpx.codes.NOT_FOUND

    told(tmp_path, story)
