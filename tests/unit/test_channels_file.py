"""The channels file is understood whole, or every fault in it is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.test_notification import a_notification

from cluster.channels.mail import letter_of
from cluster.channels.plans import Channels, MailPlan, PagerPlan, Security, SlackPlan, WebhookPlan
from cluster.channels.reading import FILE_BYTES_MAX, load_channels
from cluster.constants import CONSTITUTIONAL_HASH
from cluster.errors import ConfigurationError
from cluster.settings import Environment, Settings
from policies.notification import DECIDED, DEFAULT_STEPS, Kind
from policies.review import Person

HOOK = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENV = {
    "HOOK_KEY": HOOK,
    "HOOK_KEY_BEFORE": "whsec_" + "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "SLACK_TOKEN": "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcBrzbqgy",
    "SLACK_SIGNING": "8f742231b10e8888abcd99yyyzzz85a5",
    "PAGERDUTY_KEY": "R03E5TJLXQ8ZB1V2N7M4K6H9G0F2D3S1",
    "SMTP_PASSWORD": "kR7-vMq2-xT9w",
}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "channels.md"


def settings(path: Path | None, env: Environment = Environment.DEV) -> Settings:
    return Settings.model_construct(
        env=env, channels_file=path, public_url="https://bus.example.org"
    )


def a_hook(**changes: Any) -> dict[str, Any]:
    hook: dict[str, Any] = {
        "kind": "webhook",
        "tenants": ["acme"],
        "url": "https://hooks.example.org/acgs",
        "secrets": [{"secret_env": "HOOK_KEY"}],
    }
    hook |= changes
    return {key: value for key, value in hook.items() if value is not None}


def a_slack(**changes: Any) -> dict[str, Any]:
    slack: dict[str, Any] = {
        "kind": "slack",
        "tenants": ["acme"],
        "conversation": "C0123ABC",
        "token": {"secret_env": "SLACK_TOKEN"},
        "signing_secrets": [{"secret_env": "SLACK_SIGNING"}],
        "people": {"U0123ABC": {"sub": "rita", "roles": ["reviewer"]}},
    }
    slack |= changes
    return {key: value for key, value in slack.items() if value is not None}


def a_mail(**changes: Any) -> dict[str, Any]:
    mail: dict[str, Any] = {
        "kind": "mail",
        "tenants": ["*"],
        "host": "smtp.example.org",
        "from": "acgs@example.org",
        "to": ["rita@example.org"],
    }
    mail |= changes
    return {key: value for key, value in mail.items() if value is not None}


def read(folder: Path, env: Environment = Environment.DEV, /, **channels: Any) -> Channels:
    path = folder / "channels.yaml"
    document = {"constitutional_hash": CONSTITUTIONAL_HASH, "channels": channels}
    path.write_text(yaml.safe_dump(document))
    return load_channels(settings(path, env), env=ENV)


def faults(folder: Path, env: Environment = Environment.DEV, /, **channels: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        read(folder, env, **channels)
    prefix = f"{folder / 'channels.yaml'}: channels file.channels."
    return [line.removeprefix(prefix) for line in str(error.value).splitlines()]


def test_without_a_file_there_are_no_channels() -> None:
    assert load_channels(settings(None), env={}).plans == {}


def test_the_example_of_the_docs_is_a_sound_file_in_production(tmp_path: Path) -> None:
    text = DOCS.read_text()
    found = re.search(r"<!-- example -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    path = tmp_path / "channels.yaml"
    old = tmp_path / "old-key"
    old.write_text(ENV["HOOK_KEY_BEFORE"] + "\n")
    path.write_text(found[1].replace("/run/secrets/hook-key-before", str(old)))
    channels = load_channels(settings(path, Environment.PRODUCTION), env=ENV)
    assert {type(plan) for plan in channels.plans.values()} == {
        WebhookPlan,
        SlackPlan,
        PagerPlan,
        MailPlan,
    }
    for word in DEFAULT_STEPS[Kind.MAIL]:
        assert f"`{word}`" in text
    assert channels.public_url == "https://bus.example.org"


def test_each_kind_is_read_with_its_defaults(tmp_path: Path) -> None:
    pager = {"kind": "pagerduty", "tenants": ["*"], "routing_key": {"secret_env": "PAGERDUTY_KEY"}}
    channels = read(tmp_path, hook=a_hook(), chat=a_slack(), duty=pager, post=a_mail())
    hook, chat, duty, post = (channels.plans[name] for name in ("hook", "chat", "duty", "post"))
    assert isinstance(hook, WebhookPlan)
    assert hook.secrets[0].get_secret_value() == HOOK
    assert hook.interest.steps == DEFAULT_STEPS[Kind.WEBHOOK]
    assert isinstance(chat, SlackPlan)
    assert (chat.url, chat.tenant) == ("https://slack.com/api", "acme")
    assert chat.people == {"U0123ABC": Person(name="rita", roles=frozenset({"reviewer"}))}
    assert channels.slack() == (chat,)
    assert isinstance(duty, PagerPlan)
    assert (duty.url, duty.severity) == ("https://events.pagerduty.com/v2/enqueue", "warning")
    assert isinstance(post, MailPlan)
    assert (post.port, post.security, post.username) == (587, Security.STARTTLS, None)
    assert post.timeout_s == 10.0


def test_filters_are_read(tmp_path: Path) -> None:
    wants = {"tiers": ["critical"], "agents": ["planner"], "steps": ["open", "decided"]}
    interest = read(tmp_path, hook=a_hook(**wants)).plans["hook"].interest
    assert interest.tenants == {"acme"}
    assert interest.tiers == {"critical"}
    assert interest.agents == {"planner"}
    assert interest.steps == {"open", DECIDED}


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(HOOK + "\n")
    channels = read(tmp_path, hook=a_hook(secrets=[{"secret_file": str(key)}]))
    hook = channels.plans["hook"]
    assert isinstance(hook, WebhookPlan)
    assert hook.secrets[0].get_secret_value() == HOOK


def test_no_secret_is_shown(tmp_path: Path) -> None:
    channels = read(tmp_path, hook=a_hook(), chat=a_slack())
    for secret in ENV.values():
        assert secret not in repr(channels)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"tenants": None}, "hook.tenants is missing"),
        ({"tenants": []}, "hook.tenants must not be empty"),
        ({"tenants": "acme"}, "hook.tenants must be a list of at most 256"),
        ({"tenants": ["Acme"]}, "hook.tenants must list tenants, or '*'"),
        ({"tenants": ["acme", "acme"]}, "hook.tenants must name each once"),
        ({"steps": ["opened"]}, "hook.steps must list some of"),
        ({"agents": ["A B"]}, "hook.agents must list agents"),
        ({"tiers": [3]}, "hook.tiers must list tiers"),
        ({"teirs": ["critical"]}, "hook.teirs is not known here"),
        ({"kind": "fax"}, "hook.kind must be one of mail, pagerduty, slack, webhook"),
        ({"kind": None}, "hook.kind is missing"),
        ({"url": None}, "hook.url is missing"),
        ({"url": "ftp://x"}, "hook.url must begin with https:// and name a host"),
        ({"url": "https://u:p@x/"}, "hook.url must carry neither a name nor a password"),
        ({"url": "https://x:port/"}, "hook.url is not a URL"),
        ({"url": 7}, "hook.url must be a text"),
        ({"timeout_s": 0}, "hook.timeout_s must be a number from 0.1 to 60"),
        ({"timeout_s": True}, "hook.timeout_s must be a number from 0.1 to 60"),
        ({"ca_file": "ca.pem"}, "hook.ca_file must be the absolute path of a file"),
        ({"secrets": None}, "hook.secrets is missing"),
        ({"secrets": []}, "hook.secrets must be a list of 1 to 2"),
        ({"secrets": ["whsec_x"]}, "hook.secrets[0] must be a mapping"),
        ({"secrets": [{}]}, "hook.secrets[0] must have a secret_env or a secret_file"),
        ({"secrets": [{"secret": HOOK}]}, "hook.secrets[0] must have a secret_env or a"),
        ({"secrets": [{"secret_env": "NO"}]}, "hook.secrets[0] names NO, where there is no secret"),
        ({"secrets": [{"secret_file": "/no"}]}, "hook.secrets[0] names /no, where there is no"),
        ({"secrets": [{"secret_env": "SLACK_TOKEN"}]}, "hook.secrets holds one that is none"),
    ],
)
def test_a_fault_is_named_with_its_place(
    tmp_path: Path, changes: dict[str, Any], fault: str
) -> None:
    found = faults(tmp_path, hook=a_hook(**changes))
    assert any(line.startswith(fault) for line in found), found


def test_a_certificate_that_is_none_is_a_fault_of_the_file(tmp_path: Path) -> None:
    none, key = tmp_path / "none.pem", tmp_path / "half.pem"
    none.write_text("no certificate\n")
    key.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for path in (none, key):
        (fault,) = faults(tmp_path, hook=a_hook(ca_file=str(path)))
        assert fault.startswith("hook.ca_file must hold certificates in PEM")
    found = faults(tmp_path, hook=a_hook(ca_file=str(none)), post=a_mail(ca_file=str(none), port=0))
    assert len(found) == 3  # told at once


ADDRESSES = {
    "rita@example.org": True,
    "on-call+acgs.eu@mail.example-1.org": True,
    "rita@localhost": True,
    "a@..": False,
    "a@example..org": False,
    "a@.example.org": False,
    "a@example.org.": False,
    "a@-example.org": False,
    ".a@example.org": False,
    "a.@example.org": False,
    "a..b@example.org": False,
    "a@" + "b" * 64 + ".org": False,
    "a" * 65 + "@example.org": False,
    "a@b@example.org": False,
}


@pytest.mark.parametrize(("address", "is_one"), ADDRESSES.items())
def test_an_address_that_no_letter_can_carry_is_a_fault_of_the_file(
    tmp_path: Path, address: str, *, is_one: bool
) -> None:
    mail = a_mail(**{"from": address, "to": [address]})
    if is_one:
        plan = read(tmp_path, post=mail).plans["post"]
        assert isinstance(plan, MailPlan)
        letter = letter_of(a_notification(), plan)
        assert letter["To"] == address
    else:
        must = "must be an address, such as acgs@example.org"
        assert faults(tmp_path, post=mail) == [f"post.from {must}", f"post.to {must}"]


def test_every_fault_is_told_at_once_and_no_secret_with_it(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        hook=a_hook(url="nowhere", secrets=[{"secret_env": "SLACK_TOKEN"}]),
        chat=a_slack(conversation="general", people={"rita": {"sub": "Rita", "roles": ["agent"]}}),
        post=a_mail(**{"from": "me", "to": ["you"], "port": 0}),
    )
    for place in (
        "hook.url",
        "hook.secrets",
        "chat.conversation",
        "chat.people.rita must be under the id of a Slack user",
        "chat.people.rita.sub",
        "chat.people.rita.roles must list roles that decide on reviews",
        "post.from",
        "post.to",
        "post.port",
    ):
        assert any(line.startswith(place) for line in found), (place, found)
    assert not any(secret in "\n".join(found) for secret in ENV.values())


def test_people_decide_in_one_tenant_only_and_slack_must_prove_who_they_are(
    tmp_path: Path,
) -> None:
    for tenants in (["*"], ["acme", "globex"]):
        (fault,) = faults(tmp_path, chat=a_slack(tenants=tenants))
        assert fault == "chat.tenants must name exactly one where people decide: theirs"
    assert faults(tmp_path, chat=a_slack(signing_secrets=None)) == [
        "chat.signing_secrets is missing"
    ]
    told = a_slack(signing_secrets=None, people=None, tenants=["*"])
    assert read(tmp_path, chat=told).slack() == ()


def test_outside_dev_nothing_goes_in_the_clear_and_no_placeholder_is_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENV, "SLACK_TOKEN", "changeme-changeme")
    monkeypatch.setitem(ENV, "HOOK_KEY", "whsec_" + "A" * 40)
    hook = a_hook(url="http://hooks.example.org/")
    mail = a_mail(security="none")
    assert set(read(tmp_path, hook=hook, post=mail).plans) == {"hook", "post"}
    found = faults(tmp_path, Environment.PRODUCTION, hook=hook, chat=a_slack(), post=mail)
    for place in (
        "hook.url must be https",
        "hook.secrets holds one that is easy to guess",
        "chat.token names SLACK_TOKEN, which holds a placeholder",
        "post.security must be starttls or tls",
    ):
        assert any(line.startswith(place) for line in found), (place, found)


def test_outside_dev_there_is_an_address_for_links(tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(f"constitutional_hash: {CONSTITUTIONAL_HASH}\nchannels: {{}}\n")
    bare = Settings.model_construct(env=Environment.PRODUCTION, channels_file=path, public_url=None)
    with pytest.raises(ConfigurationError, match="ACGS_PUBLIC_URL must be set"):
        load_channels(bare, env={})


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ("", "must be a mapping"),
        ("channels: {}\n", "constitutional_hash is missing"),
        ("constitutional_hash: 0000000000000000\nchannels: {}\n", "constitutional_hash must be"),
        (f"constitutional_hash: {CONSTITUTIONAL_HASH}\n", "channels is missing"),
        (f"constitutional_hash: {CONSTITUTIONAL_HASH}\nchannels: []\n", "must be a mapping"),
        (f"constitutional_hash: {CONSTITUTIONAL_HASH}\nchannels: {{A: {{}}}}\n", "be named as"),
        ("a: 1\na: 2\n", "is not unambiguous YAML"),
        ("#" * (FILE_BYTES_MAX + 1), "is over"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, document: str, match: str) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(document)
    with pytest.raises(ConfigurationError, match=match):
        load_channels(settings(path), env={})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_channels(settings(tmp_path / "none.yaml"), env={})
