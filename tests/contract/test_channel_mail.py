"""Mail against a real SMTP server: the letter, how it is secured, and what each answer means."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from contract.test_channels import a_notification, ended
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from receivers import a_post_office

from cluster.channels.channel import GiveUpError, RetryLaterError
from cluster.channels.mail import Mail, letter_of
from cluster.channels.plans import MailPlan, Security
from cluster.session import free_port
from policies.notification import EVERY, Interest, Kind, Notification


def a_plan(port: int, **changes: Any) -> MailPlan:
    plan = MailPlan(
        name="hook",
        interest=Interest(
            channel="hook", kind=Kind.MAIL, tenants=frozenset({EVERY}), steps=frozenset()
        ),
        timeout_s=5.0,
        host="127.0.0.1",
        port=port,
        security=Security.NONE,
        sender="acgs@example.org",
        recipients=("rita@example.org", "uma@example.org"),
    )
    return replace(plan, **changes)


def send(plan: MailPlan, *notifications: Notification) -> None:
    async def scenario() -> None:
        mail = Mail(plan)
        try:
            for notification in notifications:
                await mail.send(notification, None)
        finally:
            await mail.close()
            await asyncio.sleep(0.05)  # `asyncio.run` does not wait for connections to close

    asyncio.run(scenario())


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for this machine that signs itself, and a server's context with it."""
    folder = tmp_path_factory.mktemp("smtp")
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail of a test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, private = folder / "ca.pem", folder / "key.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    return authority, context


def test_a_letter_says_in_text_and_in_html_what_waits() -> None:
    with a_post_office() as office:
        send(a_plan(office.port), a_notification(), ended())
    first, second = office.letters
    assert first["Message-ID"] == "<decision-1_1_hook@example.org>"
    assert first["Subject"] == "[acme] Waits for approval - writer: email.send"
    assert first["From"] == "ACGS-2 <acgs@example.org>"
    assert first["To"] == "rita@example.org, uma@example.org"
    assert first["Auto-Submitted"] == "auto-generated"
    assert "In-Reply-To" not in first
    assert office.recipients[0] == ["rita@example.org", "uma@example.org"]
    text, html = (first.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert "https://bus.example.org/console/reviews/decision-1" in text.get_content()
    assert "policy.held: " in text.get_content()
    assert "<h1" in html.get_content()
    assert second["Message-ID"] == "<decision-1_2_hook@example.org>"
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"]
    assert second["Subject"].startswith("[acme] Rejected")


def test_a_letter_is_the_same_whenever_it_is_written() -> None:
    plan = a_plan(1)
    written = [letter_of(a_notification(), plan) for _ in range(2)]
    assert len({letter["Message-ID"] for letter in written}) == 1
    assert len({letter["Date"] for letter in written}) == 1
    bodies = {letter.get_body(("plain",)).get_content() for letter in written}  # type: ignore[union-attr]
    assert len(bodies) == 1


def test_what_an_agent_wrote_is_no_html_and_no_header() -> None:
    tool = "<script>alert(1)</script>\r\nBcc: evil@example.org"
    with a_post_office() as office:
        send(a_plan(office.port), a_notification(tool=tool))
    (letter,) = office.letters
    assert "Bcc" not in letter
    html = letter.get_body(("html",))
    assert html is not None
    assert "<script" not in html.get_content()
    assert "&lt;script&gt;" in html.get_content()


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ("451 try later", RetryLaterError),
        ("452 full", RetryLaterError),
        ("550 no", GiveUpError),
        ("554 spam", GiveUpError),
    ],
)
def test_4xx_comes_again_and_5xx_does_not(refusal: str, kind: type[Exception]) -> None:
    with a_post_office() as office:
        office.refusal = refusal
        with pytest.raises(kind, match=refusal[:3]):
            send(a_plan(office.port), a_notification())


@pytest.mark.parametrize(
    ("refused", "kind"),
    [
        ({"uma@example.org": "450 later"}, GiveUpError),
        ({"uma@example.org": "550 unknown"}, GiveUpError),
        ({"rita@example.org": "450 later", "uma@example.org": "451 later"}, RetryLaterError),
        ({"rita@example.org": "550 no", "uma@example.org": "550 no"}, GiveUpError),
    ],
)
def test_one_recipient_who_is_refused_is_not_lost_silently(
    refused: dict[str, str], kind: type[Exception]
) -> None:
    with a_post_office() as office:
        office.refused = refused
        with pytest.raises(kind) as error:
            send(a_plan(office.port), a_notification())
        # The other one has it: nothing goes out again, and who has not is named.
        assert len(office.letters) == (1 if len(refused) == 1 else 0)
        if len(refused) == 1:
            (said,) = refused.values()
            assert f"1 of 2 recipients, the others have it: uma@example.org ({said[:3]})" in str(
                error.value
            )


def test_who_is_not_there_is_tried_again() -> None:
    with pytest.raises(RetryLaterError, match="it was not reached"):
        send(a_plan(free_port()), a_notification())


def test_starttls_and_a_password(certificate: tuple[Path, ssl.SSLContext]) -> None:
    authority, context = certificate
    with a_post_office(context=context, signs_in=True) as office:
        secured: dict[str, Any] = {
            "security": Security.STARTTLS,
            "ca_file": authority,
            "username": "bus",
            "password": SecretStr("open-sesame-7"),
        }
        send(a_plan(office.port, **secured), a_notification())
        assert office.tls
        assert office.signed_in == ["bus"]
        wrong = a_plan(office.port, **{**secured, "password": SecretStr("guess")})
        # Somebody mends the password, and what waited goes then: it is no dead letter.
        with pytest.raises(RetryLaterError, match="535"):
            send(wrong, a_notification())
        assert len(office.letters) == 1


def test_a_server_that_nobody_vouches_for_hears_nothing(
    certificate: tuple[Path, ssl.SSLContext],
) -> None:
    with a_post_office(context=certificate[1]) as office:
        with pytest.raises(RetryLaterError):
            send(a_plan(office.port, security=Security.STARTTLS), a_notification())
        assert office.letters == []


def test_a_server_without_starttls_hears_nothing_when_it_is_asked_for() -> None:
    with a_post_office() as office:
        with pytest.raises(RetryLaterError):
            send(a_plan(office.port, security=Security.STARTTLS), a_notification())
        assert office.letters == []
