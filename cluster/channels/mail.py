"""E-mail over SMTP: one message a notification, under an id that is always the same."""

from __future__ import annotations

import asyncio
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Final

import aiosmtplib

from cluster.channels.channel import GiveUpError, RetryLaterError
from cluster.channels.plans import MailPlan, Security
from policies.notification import OPENED, TEST, Notification, notification_id
from policies.notification_words import facts, grounds, headline

_PERMANENT: Final = 500


class Mail:
    """Writes to the recipients of one channel."""

    def __init__(self, plan: MailPlan) -> None:
        self._plan = plan
        ca_file = None if plan.ca_file is None else str(plan.ca_file)
        self._context = ssl.create_default_context(cafile=ca_file)

    async def send(self, notification: Notification, trace: str | None) -> None:  # noqa: ARG002  # the protocol's
        """Return once the server has taken it for every recipient; see Channel."""
        name = self._plan.name
        try:
            async with asyncio.timeout(self._plan.timeout_s):
                await self._deliver(letter_of(notification, self._plan))
        except TimeoutError as error:
            detail = f"no answer within {self._plan.timeout_s:g} s"
            raise RetryLaterError(name, detail) from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [one.code for one in error.recipients]
            raise self._failure(min(codes, default=_PERMANENT), "every recipient") from error
        except (
            aiosmtplib.SMTPAuthenticationError,
            aiosmtplib.SMTPConnectResponseError,
            aiosmtplib.SMTPHeloError,
        ) as error:
            # Not about this letter: somebody mends the password, and then all of them go.
            detail = f"the server lets nobody in ({error.code})"
            raise RetryLaterError(name, detail) from error
        except aiosmtplib.SMTPResponseException as error:
            raise self._failure(error.code, type(error).__name__) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            detail = f"it was not reached ({type(error).__name__})"
            raise RetryLaterError(name, detail) from error

    async def close(self) -> None:
        """Nothing is kept open between letters."""

    async def _deliver(self, letter: EmailMessage) -> None:
        plan = self._plan
        secured = plan.security is not Security.NONE
        refused, _ = await aiosmtplib.send(
            letter,
            sender=plan.sender,
            recipients=list(plan.recipients),
            hostname=plan.host,
            port=plan.port,
            username=plan.username,
            password=None if plan.password is None else plan.password.get_secret_value(),
            use_tls=plan.security is Security.TLS,
            start_tls=plan.security is Security.STARTTLS,
            tls_context=self._context if secured else None,
            timeout=plan.timeout_s,
        )
        if refused:
            # Final even when it is for now: again it would go to everybody, who have it.
            named = ", ".join(f"{who} ({reply.code})" for who, reply in refused.items())
            count = f"{len(refused)} of {len(plan.recipients)} recipients"
            raise GiveUpError(plan.name, f"the server refuses {count}, the others have it: {named}")

    def _failure(self, code: int, what: str) -> GiveUpError | RetryLaterError:
        if code >= _PERMANENT:
            return GiveUpError(self._plan.name, f"the server refuses {what} ({code})")
        return RetryLaterError(self._plan.name, f"the server refuses {what} for now ({code})")


def letter_of(notification: Notification, plan: MailPlan) -> EmailMessage:
    """Return the letter, in text and in HTML; the same for the same notification."""
    letter = EmailMessage()
    domain = plan.sender.rpartition("@")[2]
    first = notification_id(notification.review_id, 1, channel=plan.name)
    letter["Message-ID"] = f"<{notification.id}@{domain}>"
    if notification.step not in (OPENED, TEST):
        letter["In-Reply-To"] = letter["References"] = f"<{first}@{domain}>"
    letter["Date"] = format_datetime(notification.at)
    letter["From"] = Address("ACGS-2", addr_spec=plan.sender)
    letter["To"] = ", ".join(plan.recipients)
    letter["Subject"] = f"[{notification.tenant}] {headline(notification)}"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(_text(notification))
    letter.add_alternative(_html(notification), subtype="html")
    return letter


def _text(notification: Notification) -> str:
    lines = [headline(notification), ""]
    lines += [f"{label}: {value}" for label, value in facts(notification)]
    why = grounds(notification)
    if why:
        lines += ["", "Why:", *(f"- {line}" for line in why)]
    if notification.link is not None:
        lines += ["", notification.link]
    return "\n".join(lines) + "\n"


def _html(notification: Notification) -> str:
    rows = "".join(
        f"<tr><th align='left'>{escape(label)}</th><td>{escape(value)}</td></tr>"
        for label, value in facts(notification)
    )
    why = "".join(f"<li>{escape(line)}</li>" for line in grounds(notification))
    link = notification.link
    leads = f"<p><a href='{escape(link)}'>Open the review</a></p>" if link is not None else ""
    return (
        "<!doctype html><html lang='en'><body>"
        f"<h1 style='font-size:1.1em'>{escape(headline(notification))}</h1>"
        f"<table cellpadding='4'>{rows}</table><ul>{why}</ul>{leads}</body></html>"
    )
