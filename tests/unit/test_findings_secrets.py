"""Secrets that a scan sees, and values that stand in for one."""

from __future__ import annotations

import base64

import pytest

from policies.findings import scan

LONG = "abcdefghij0123456789ABCDEFGHIJklmnopqrst"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"


def detected(text: str) -> list[tuple[str, str]]:
    return [
        (finding.detector, text[finding.start : finding.end])
        for finding in scan({"text": text})
        if finding.kind == "secret"
    ]


@pytest.mark.parametrize(
    ("text", "detector"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "aws_access_key_id"),
        ("ASIAIOSFODNN7EXAMPLE", "aws_access_key_id"),
        ("ghp_" + LONG[:36], "github_token"),
        ("github_pat_" + LONG[:30], "github_token"),
        ("glpat-" + LONG[:20], "gitlab_token"),
        ("xoxb-" + "1234567890-abc", "slack_token"),
        ("xapp-1-" + LONG[:12], "slack_token"),
        ("https://hooks.slack.com/services/T0000/B0000/" + LONG[:24], "slack_webhook"),
        ("sk_" + "live_" + LONG[:24], "stripe_key"),
        ("rk_" + "test_" + LONG[:24], "stripe_key"),
        ("whsec_" + LONG[:24], "stripe_key"),
        ("AIza" + LONG[:35], "google_api_key"),
        ("ya29." + LONG, "google_oauth_token"),
        ("GOCSPX-" + LONG[:28], "google_client_secret"),
        ("sk-" + LONG, "model_api_key"),
        ("sk-proj-" + LONG, "model_api_key"),
        ("npm_" + LONG[:36], "npm_token"),
        ("pypi-AgE" + LONG, "pypi_token"),
        ("hf_" + LONG[:34], "hugging_face_token"),
        ("SG." + LONG[:22] + "." + LONG, "sendgrid_key"),
        ("SK" + "0123456789abcdef" * 2, "twilio_key"),
        ("dop_v1_" + "0123456789abcdef" * 4, "digitalocean_token"),
        ("AccountKey=" + LONG + "==", "azure_account_key"),
        ("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ3cml0ZXIifQ.c2lnbmF0dXJl", "json_web_token"),
        (KEY, "private_key"),
    ],
)
def test_a_secret_with_a_mark_of_its_own_is_found_where_it_stands(text: str, detector: str) -> None:
    found = dict(detected(f"x {text} y"))
    assert detector in found
    assert found[detector] in text
    assert len(found[detector]) > len(text) * 0.6


@pytest.mark.parametrize(
    ("text", "detector", "found"),
    [
        ("password=hunter2", "assigned_secret", "hunter2"),
        ('PASSWORD = "Tr0ub4dor&3"', "assigned_secret", "Tr0ub4dor&3"),
        ("the password is hunter2.", "assigned_secret", "hunter2."),
        ("db_passwd: s3cretword", "assigned_secret", "s3cretword"),
        ("Api-Key: abc123def", "assigned_secret", "abc123def"),
        ("api_key => 'abc123def'", "assigned_secret", "abc123def"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG",
            "assigned_secret",
            "wJalrXUtnFEMI/K7MDENG",
        ),
        ("token:=Abc.Def_Ghi", "assigned_secret", "Abc.Def_Ghi"),
        ("postgres://app:s3cr3t@db:5432/x", "address_credentials", "s3cr3t"),
        ("redis://:hunter@cache", "address_credentials", "hunter"),
        ("Authorization: Bearer abcdef0123456789xyz", "bearer_token", "abcdef0123456789xyz"),
        ("Basic dXNlcjpwYXNzd29yZA==", "basic_credentials", "dXNlcjpwYXNzd29yZA"),
    ],
)
def test_what_is_given_as_a_secret_is_found_without_its_name(
    text: str, detector: str, found: str
) -> None:
    assert (detector, found) in detected(text)


@pytest.mark.parametrize(
    "text",
    [
        "password=${DB_PASSWORD}",
        "password: string",
        "password = os.environ['X1']",
        "password = getpass1(prompt)",
        "password: ********",
        "password: <your-password1>",
        "password is incorrect",
        "api_key=your_api_key_1",
        "secret: [REDACTED:secret_field]",
        "token: tokenize",
        "primary_key=abc123",
        "keyboard: qwerty1",
        "token=abc",
        "tokens: 100000",
        "postgres://db:5432/x",
        "postgres://app:password@db/x",
        "postgres://app:[REDACTED:address_credentials]@db/x",
        "https://example.com/a@b",
        "bearer of bad newstidingsandsorrow",
        "basic understanding",
        "basic abcdefghijklm",
        "basic dXNlcnBhc3N3b3Jk",
        "AKIA short",
        "XAKIAIOSFODNN7EXAMPLE",
        "-----BEGIN CERTIFICATE-----",
        "eyJhbGciOiJFZERTQSJ9",
        "task-force-abcdefghijklmnopqrstuv",
    ],
)
def test_what_stands_in_for_a_secret_is_let_be(text: str) -> None:
    assert detected(text) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "12345678"),
        ("db-password", "correct horse"),
        ("clientSecret", "abcd"),
        ("STRIPE_API_KEY", "pk 1234"),
        ("passwords", None),
        ("access_token", "abcdefgh12345678"),
    ],
)
def test_a_field_whose_name_says_so_is_believed(name: str, value: str | None) -> None:
    found = [finding.detector for finding in scan({name: value})]
    assert found == ([] if value is None else ["secret_field"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", ""),
        ("password", "***"),
        ("password", "********"),
        ("password", "[REDACTED:secret_field]"),
        ("token", "abc"),
        ("token", "a sentence about 1 token or 2"),
        ("next_page_token", "abcdefgh12345678"),
        ("secretary", "Mrs Robinson"),
    ],
)
def test_a_field_that_holds_no_secret_is_let_be(name: str, value: str) -> None:
    assert scan({name: value}) == ()


def test_a_list_stands_under_the_name_of_its_field() -> None:
    findings = scan({"passwords": ["x"], "password": [["hunter"], "hunter2"]})
    assert [finding.path for finding in findings] == ["/password/0/0", "/password/1"]


def test_a_private_key_is_found_in_every_line_that_it_stands_in() -> None:
    lines = ["before", "-----BEGIN PRIVATE KEY-----", "MIIE", "-----END PRIVATE KEY-----", "after"]
    findings = scan({"lines": lines})
    assert [finding.path for finding in findings] == ["/lines/1", "/lines/2", "/lines/3"]
    assert {finding.detector for finding in findings} == {"private_key"}


def test_a_private_key_without_an_end_ends_with_its_string() -> None:
    (finding,) = scan({"a": "-----BEGIN PRIVATE KEY-----\nMIIE", "b": "after"})
    assert (finding.path, finding.start, finding.end) == ("/a", 0, 32)
    (finding,) = scan({"a": "-----BEGIN PRIVATE KEY-----" + "\n" * 20_000})
    assert finding.end < 20_000


def test_a_secret_in_base64_is_found_in_its_run() -> None:
    run = base64.b64encode(b"user password=hunter22 and so on").decode()
    text = f"see {run} here"
    assert detected(text) == [("assigned_secret", run)]
