"""Every error of a command becomes one sentence and a documented exit status."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import typer

from actors.ledger.errors import LockedError, ProofError, TamperedError
from cluster.errors import ConfigurationError, StoreUnavailableError
from policies.errors import GovernanceError, RefusalError
from serve_app.cli.client import Client, ProblemError
from serve_app.cli.exits import MEANING, OF_EFFECT, Exit
from serve_app.cli.sentences import exit_of, sentence
from serve_app.cli.token import seconds
from serve_app.cli.traces import TraceError

ROOT = Path(__file__).resolve().parents[2]


def a_client(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    client = Client("http://bus.example", "token")
    client._http = httpx.Client(
        base_url="http://bus.example", transport=httpx.MockTransport(answer)
    )
    return client


def a_problem(status: int, **changes: object) -> httpx.Response:
    problem = {"code": "some.code", "detail": "what was wrong", "request_id": "r1"}
    return httpx.Response(status, json={**problem, **changes})


def the_problem(response: httpx.Response) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        a_client(lambda _: response).call("GET", "/v1/agents")
    return caught.value


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TamperedError("ledger.forked", "two logs"), Exit.TAMPERED),
        (ProofError("no"), Exit.TAMPERED),
        (TraceError("x:1 is no trace"), Exit.USAGE),
        (ConfigurationError("no"), Exit.USAGE),
        (StoreUnavailableError("no"), Exit.UNAVAILABLE),
        (RefusalError("a.b", "no"), Exit.REFUSED),
        (LockedError("here"), Exit.FAILED),
        (PermissionError(13, "Permission denied", "file"), Exit.FAILED),
        (ProblemError(0, "client.unreachable", "no"), Exit.UNAVAILABLE),
        (ProblemError(503, "a.b", "no"), Exit.UNAVAILABLE),
        (ProblemError(404, "a.b", "no"), Exit.REFUSED),
        (ProblemError(500, "a.b", "no"), Exit.FAILED),
    ],
)
def test_each_kind_of_error_has_its_exit_status(error: Exception, status: Exit) -> None:
    assert exit_of(error) is status


def test_each_effect_has_its_own_status_and_each_status_its_meaning() -> None:
    assert len(set(OF_EFFECT.values())) == len(OF_EFFECT) == 3
    assert set(MEANING) == set(Exit)


def test_the_documentation_lists_every_exit_status() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (ROOT / "docs/cli.md").read_text(), re.MULTILINE)
    assert {int(number): text for number, text in rows} == {
        status.value: text for status, text in MEANING.items()
    }


def test_damage_is_called_by_its_name_and_place() -> None:
    error = TamperedError("ledger.entry_altered", "the entry is another", log="l", leaf=7)
    assert sentence(error) == (
        "TAMPERED  ledger.entry_altered: the entry is another (log l, leaf 7)"
    )


def test_a_file_that_cannot_be_read_is_named() -> None:
    assert sentence(PermissionError(13, "Permission denied", "kept")) == "kept: Permission denied"


def test_a_governance_error_is_told_in_its_own_words() -> None:
    assert isinstance(ConfigurationError("set it"), GovernanceError)
    assert sentence(ConfigurationError("set it")) == "set it"


def test_a_problem_names_every_wrong_field() -> None:
    errors = [{"loc": ["body", "priority"], "msg": "not one"}, {"loc": [], "msg": "odd"}]
    told = str(the_problem(a_problem(422, errors=errors)))
    assert told.splitlines() == [
        "some.code: what was wrong",
        "  body.priority: not one",
        "  the body: odd",
    ]


def test_a_defect_quotes_the_request_that_the_log_has() -> None:
    assert "(request r1)" in str(the_problem(a_problem(500)))


def test_a_wrong_token_comes_with_what_to_do() -> None:
    assert "ACGS_TOKEN" in str(the_problem(a_problem(401, code="auth.token_expired")))


@pytest.mark.parametrize(
    "answer", [httpx.Response(404, text="<html>"), httpx.Response(502), httpx.Response(418, json=1)]
)
def test_what_is_no_bus_is_called_that(answer: httpx.Response) -> None:
    assert the_problem(answer).code == "client.not_the_bus"


def test_an_answer_that_is_no_json_is_not_the_buss() -> None:
    assert the_problem(httpx.Response(200, text="<html>")).code == "client.not_the_bus"


def test_a_bus_that_does_not_run_is_told_with_how_to_start_it() -> None:
    def silent(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ProblemError, match="acgs run") as caught:
        a_client(silent).call("GET", "/")
    assert caught.value.exit is Exit.UNAVAILABLE


def test_a_busy_bus_is_asked_again_when_it_says_so() -> None:
    answers = [
        a_problem(429, code="rate.exceeded"),
        httpx.Response(200, json={"agents": []}),
    ]
    answers[0].headers["Retry-After"] = "0"
    assert a_client(lambda _: answers.pop(0)).call("GET", "/") == {"agents": []}


@pytest.mark.parametrize(
    ("text", "expected"), [("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800)]
)
def test_a_duration_has_a_unit(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1.5h", "-1h", "1H", "1h ", "\u0661h", "9" * 30 + "d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        seconds(text)
