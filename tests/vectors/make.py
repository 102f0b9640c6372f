"""Writes the golden vectors beside it: `python tests/vectors/make.py`.

It only spells inputs out. What is expected was written here by hand, from the constitution and
the tables of the policy, and is never asked of an engine; a test says when the files differ.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ENTRYPOINT: Final = "acgs.governance.decision"

# Every code that a decision may carry: the rule that says it, and its effect.
CODES: Final[Mapping[str, tuple[str, str]]] = {
    "policy.input_invalid": ("acgs.schema.input", "deny"),
    "policy.constitution_mismatch": ("acgs.constitution.hash", "deny"),
    "policy.tenant_mismatch": ("acgs.tenancy.message_tenant", "deny"),
    "policy.sender_mismatch": ("acgs.tenancy.sender", "deny"),
    "policy.recipient_tenant_mismatch": ("acgs.tenancy.recipient", "deny"),
    "policy.role_unknown": ("acgs.roles.known", "deny"),
    "policy.type_not_permitted": ("acgs.roles.message_type", "deny"),
    "policy.priority_exceeded": ("acgs.roles.priority", "deny"),
    "policy.broadcast_not_permitted": ("acgs.roles.broadcast", "deny"),
    "policy.role_permitted": ("acgs.roles.permitted", "allow"),
    "policy.powers_combined": ("acgs.powers.single", "deny"),
    "policy.power_exceeded": ("acgs.powers.action", "deny"),
    "policy.target_missing": ("acgs.powers.target_given", "deny"),
    "policy.target_unknown": ("acgs.powers.target_known", "deny"),
    "policy.self_validation": ("acgs.powers.own_output", "deny"),
    "policy.target_not_validatable": ("acgs.powers.target_power", "deny"),
    "policy.size_exceeded": ("acgs.limits.size", "deny"),
    "policy.arguments_exceeded": ("acgs.limits.arguments", "deny"),
    "policy.name_too_long": ("acgs.limits.name_length", "deny"),
    "policy.tool_unknown": ("acgs.tools.unknown", "review"),
    "policy.tool_refused": ("acgs.tools.refused", "deny"),
    "policy.tool_not_permitted": ("acgs.tools.role", "deny"),
    "policy.tool_held": ("acgs.tools.held", "review"),
    "policy.tool_permitted": ("acgs.tools.permitted", "allow"),
    "policy.argument_missing": ("acgs.arguments.required", "deny"),
    "policy.argument_unexpected": ("acgs.arguments.described", "deny"),
    "policy.argument_type": ("acgs.arguments.type", "deny"),
    "policy.argument_length": ("acgs.arguments.length", "deny"),
    "policy.argument_pattern": ("acgs.arguments.pattern", "deny"),
    "policy.argument_range": ("acgs.arguments.range", "deny"),
    "policy.host_not_permitted": ("acgs.arguments.host", "deny"),
    "policy.argument_held": ("acgs.arguments.amount", "review"),
    "policy.label_unknown": ("acgs.labels.known", "deny"),
    "policy.clearance_exceeded": ("acgs.labels.clearance", "deny"),
    "policy.tool_clearance_exceeded": ("acgs.labels.tool_clearance", "deny"),
    "policy.label_exceeded": ("acgs.labels.tool_label", "deny"),
    "policy.secret_found": ("acgs.findings.secret", "deny"),
    "policy.injection_found": ("acgs.findings.injection", "deny"),
    "policy.pii_leaves": ("acgs.findings.pii_leaves", "review"),
    "policy.pii_refused": ("acgs.findings.pii_refused", "deny"),
    "policy.pii_broadcast": ("acgs.findings.pii_broadcast", "review"),
    "policy.high_impact": ("acgs.impact.action", "review"),
    "policy.critical_priority": ("acgs.impact.priority", "review"),
}

ASKED: Final[Mapping[str, Any]] = {
    "principal": {
        "tenant": "acme",
        "agent": "writer",
        "roles": ["agent"],
        "scopes": ["messages:send"],
    },
    "message": {
        "tenant": "acme",
        "sender": "writer",
        "recipient": "mailer",
        "type": "command",
        "priority": 1,
        "constitutional_hash": "cdd01ef066bc6cf2",
        "action": "email.send",
        "tool": "email.send",
        "resource": "",
        "args": {"to": "ann@example.com", "subject": "minutes"},
        "args_digest": "sha256:" + "0" * 64,
        "content_digest": "sha256:" + "0" * 64,
        "content_size": 120,
        "metadata": {},
    },
    "findings": [],
    "target": None,
}

ROLE: Final = "policy.role_permitted"
TOOL: Final = "policy.tool_permitted"
BOTH: Final = (ROLE, TOOL)


@dataclass(frozen=True)
class Vector:
    """One input and the whole answer: what is against it, what permits it, which duties come."""

    name: str
    given: Any
    against: Sequence[str] = ()
    permits: Sequence[str] = BOTH
    duties: Sequence[str] = ()

    def written(self) -> dict[str, Any]:
        said = [(code, *CODES[code]) for code in (*self.against, *self.permits)]
        return {
            "name": self.name,
            "input": self.given,
            "expect": {
                "allow": allows(effect for _, _, effect in said),
                "verdicts": [
                    {"rule": rule, "effect": effect, "code": code}
                    for code, rule, effect in sorted(said)
                ],
                "obligations": sorted(self.duties),
            },
        }


def allows(effects: Iterator[str]) -> bool:
    """Nothing denies, nothing holds, and something permits."""
    spoken = set(effects)
    return spoken == {"allow"}


@dataclass
class Book:
    """The vectors of one file."""

    about: str
    vectors: list[Vector] = field(default_factory=list)

    def text(self) -> str:
        head = json.dumps({"about": self.about, "entrypoint": ENTRYPOINT})[:-1]
        lines = ",\n".join(json.dumps(vector.written()) for vector in self.vectors)
        return f'{head}, "vectors": [\n{lines}\n]}}\n'


def asked(changes: Mapping[str, Any] | None = None, *, base: Mapping[str, Any] = ASKED) -> Any:
    """The base input with other values at these dotted places; `...` takes a place away."""
    document = copy.deepcopy(dict(base))
    for place, value in (changes or {}).items():
        *parents, last = place.split(".")
        node = document
        for parent in parents:
            node = node[parent]
        if value is ...:
            del node[last]
        else:
            node[last] = value
    return document


def said(type_: str, action: str = "", **changes: Any) -> Any:
    """A message of this type in words."""
    words = {"message.type": type_, "message.action": action, "message.tool": action}
    return asked({**words, "message.args": {}, **_dotted(changes)})


def calls(tool: str, args: Mapping[str, Any], **changes: Any) -> Any:
    """A command that calls this tool."""
    call = {"message.action": tool, "message.tool": tool, "message.args": dict(args)}
    return asked({**call, **_dotted(changes)})


def _dotted(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in changes.items()}


def found(kind: str, path: str, detector: str = "any") -> dict[str, Any]:
    """A finding."""
    return {"kind": kind, "detector": detector, "path": path, "start": 0, "end": 4}


def email(path: str) -> dict[str, Any]:
    """An e-mail address at this path."""
    return found("pii", path, "email")


# ------------------------------------------------------------- role by type: REFERENCE A5, by hand

TYPES: Final = (
    "command",
    "query",
    "response",
    "event",
    "notification",
    "heartbeat",
    "governance_request",
    "governance_response",
    "constitutional_validation",
    "task_request",
    "task_response",
)
_TALK = {"query", "response", "event", "notification", "heartbeat"}
_TASKS = {"task_request", "task_response"}
_GOVERNANCE = {"governance_request", "governance_response"}
MAY_SEND: Final[Mapping[str, set[str]]] = {
    "agent": {"command"} | _TALK | _TASKS,
    "executive": {"command"} | _TALK | _TASKS | _GOVERNANCE,
    "legislative": _TALK | _TASKS,
    "judicial": _TALK | {"constitutional_validation"},
    "critic": set(),
    "reviewer": set(),
    "policy_author": set(),
    "auditor": set(),
    "operator": set(),
    "tenant_admin": set(),
    "platform_admin": set(),
}
# Types that are an action which this role has no power for. The others act as plain agents do,
# and a plain agent never validates.
BEYOND: Final[Mapping[str, set[str]]] = {
    "executive": {"constitutional_validation"},
    "legislative": {"command", "constitutional_validation"} | _GOVERNANCE,
    "judicial": {"command"} | _TASKS | _GOVERNANCE,
}
PLANNED: Final = {"known": True, "agent": "planner", "roles": ["executive"]}


def role_by_type() -> Iterator[Vector]:
    """Every role sends every type, in words."""
    for role, may in MAY_SEND.items():
        for type_ in TYPES:
            target = PLANNED if type_ == "constitutional_validation" else None
            against = []
            if type_ not in may:
                against.append("policy.type_not_permitted")
            if type_ in BEYOND.get(role, {"constitutional_validation"}):
                against.append("policy.power_exceeded")
            yield Vector(
                f"{role} sends {type_}",
                said(type_, principal__roles=[role], target=target),
                against,
                permits=[ROLE] if type_ in may else [],
            )


# ------------------------------------------------------------------------------- the other books


def identity() -> Iterator[Vector]:
    yield Vector("a mail is allowed", asked())
    yield Vector("words are allowed by the role alone", said("event"), permits=[ROLE])
    yield Vector("a decision only, without recipient", asked({"message.recipient": None}))
    yield Vector(
        "another constitution",
        asked({"message.constitutional_hash": "0000000000000000"}),
        ["policy.constitution_mismatch"],
    )
    yield Vector(
        "no constitution",
        asked({"message.constitutional_hash": ""}),
        ["policy.constitution_mismatch"],
    )
    yield Vector(
        "another tenant",
        asked({"message.tenant": "globex"}),
        ["policy.tenant_mismatch"],
    )
    yield Vector("another sender", asked({"message.sender": "boss"}), ["policy.sender_mismatch"])
    yield Vector(
        "a recipient in another tenant",
        asked({"message.recipient_tenant": "globex"}),
        ["policy.recipient_tenant_mismatch"],
    )
    yield Vector(
        "a recipient said to be in the same tenant", asked({"message.recipient_tenant": "acme"})
    )


def roles() -> Iterator[Vector]:
    nobody = ["policy.role_unknown", "policy.type_not_permitted", "policy.priority_exceeded"]
    yield Vector(
        "no role",
        said("event", principal__roles=[]),
        [*nobody, "policy.clearance_exceeded"],
        permits=[],
    )
    yield Vector(
        "a role that does not exist",
        said("event", principal__roles=["root"]),
        [*nobody, "policy.clearance_exceeded"],
        permits=[],
    )
    yield Vector(
        "a role that does not exist beside one that does",
        asked({"principal.roles": ["root", "agent"]}),
    )
    yield Vector("two roles add up", asked({"principal.roles": ["auditor", "agent"]}))
    yield Vector(
        "a legislative hurries",
        said("event", principal__roles=["legislative"], message__priority=2),
        permits=[ROLE],
    )
    yield Vector(
        "a legislative is not that important",
        said("event", principal__roles=["legislative"], message__priority=3),
        ["policy.priority_exceeded", "policy.critical_priority"],
        permits=[ROLE],
    )
    yield Vector(
        "an auditor is not that important",
        said("event", principal__roles=["auditor"], message__priority=2),
        ["policy.type_not_permitted", "policy.priority_exceeded"],
        permits=[],
    )
    yield Vector("an agent tells all", said("event", message__recipient="*"), permits=[ROLE])
    yield Vector(
        "an agent commands all",
        asked({"message.recipient": "*"}),
        ["policy.broadcast_not_permitted"],
    )
    yield Vector(
        "an executive commands all",
        asked({"message.recipient": "*", "principal.roles": ["executive"]}),
    )


def powers() -> Iterator[Vector]:
    def validates(target: Any, **changes: Any) -> Any:
        return said(
            "constitutional_validation",
            **{"principal__roles": ["judicial"], "target": target, **changes},
        )

    def recorded(*roles: str) -> dict[str, Any]:
        return {"known": True, "agent": "planner", "roles": list(roles)}

    yield Vector(
        "a judge validates the executive", validates(recorded("executive")), permits=[ROLE]
    )
    yield Vector(
        "a judge validates the legislative",
        validates(recorded("agent", "legislative")),
        permits=[ROLE],
    )
    against = "policy.target_not_validatable"
    for name, whose in (
        ("another judge", ["judicial"]),
        ("a judge who was an executive too", ["executive", "judicial"]),
        ("a plain agent", ["agent"]),
        ("somebody without roles", []),
    ):
        yield Vector(
            f"a judge validates {name}", validates(recorded(*whose)), [against], permits=[ROLE]
        )
    yield Vector(
        "a judge validates itself",
        validates({"known": True, "agent": "writer", "roles": ["executive"]}),
        ["policy.self_validation"],
        permits=[ROLE],
    )
    yield Vector(
        "a judge validates what is not on record",
        validates({"known": False, "agent": "", "roles": []}),
        ["policy.target_unknown"],
        permits=[ROLE],
    )
    yield Vector(
        "a judge validates nothing", validates(None), ["policy.target_missing"], permits=[ROLE]
    )
    yield Vector(
        "a judge validates in a query",
        said("query", "validate", principal__roles=["judicial"]),
        ["policy.target_missing"],
        permits=[ROLE],
    )
    yield Vector(
        "an executive validates",
        validates(recorded("legislative"), principal__roles=["executive"]),
        ["policy.type_not_permitted", "policy.power_exceeded"],
        permits=[],
    )
    for name, target in (
        ("not on record", {"known": False, "agent": "", "roles": []}),
        ("the sender's own", {"known": True, "agent": "writer", "roles": ["executive"]}),
        ("a judge's", {"known": True, "agent": "planner", "roles": ["judicial"]}),
    ):
        yield Vector(
            f"what is not validated may be {name}", said("event", target=target), permits=[ROLE]
        )
    yield Vector(
        "two powers in one hand",
        said("event", principal__roles=["executive", "judicial"]),
        ["policy.powers_combined"],
        permits=[ROLE],
    )
    yield Vector(
        "a judge who is also an agent proposes",
        said("command", principal__roles=["agent", "judicial"]),
        ["policy.power_exceeded"],
        permits=[ROLE],
    )
    yield Vector(
        "a legislative extracts rules",
        said("query", "extract_rules", principal__roles=["legislative"]),
        permits=[ROLE],
    )
    yield Vector(
        "an executive extracts rules",
        said("query", "extract_rules", principal__roles=["executive"]),
        ["policy.power_exceeded"],
        permits=[ROLE],
    )
    yield Vector(
        "a judge audits", said("query", "audit", principal__roles=["judicial"]), permits=[ROLE]
    )
    yield Vector(
        "a judge proposes in a query",
        said("query", "propose", principal__roles=["judicial"]),
        ["policy.power_exceeded"],
        permits=[ROLE],
    )
    yield Vector("an agent audits", said("query", "audit"), ["policy.power_exceeded"], [ROLE])
    yield Vector("an agent proposes", said("command", "propose"), permits=[ROLE])


def tools() -> Iterator[Vector]:
    unknown, high = "policy.tool_unknown", "policy.high_impact"
    yield Vector("a tool that nobody described", calls("area", {"base": 1}), [unknown], [ROLE])
    yield Vector("a capital letter", calls("Email.send", {}), [unknown], [ROLE])
    yield Vector("words that are large", calls("deleteUser", {}), [unknown, high], [ROLE])
    yield Vector("an acronym before it", calls("DBDrop", {}), [unknown, high], [ROLE])
    yield Vector("almost such a word", calls("undeletable", {}), [unknown], [ROLE])
    yield Vector(
        "an explicit tool in an event",
        said("event", "done", message__tool="frobnicate"),
        [unknown],
        [ROLE],
    )
    yield Vector(
        "a large verb beside a tool that nobody described",
        asked({"message.action": "wipe", "message.tool": "frobnicate"}),
        [unknown, high],
        [ROLE],
    )
    yield Vector(
        "an action whose tool is empty", said("event", "note", message__tool=""), permits=[ROLE]
    )
    yield Vector("what an event is called", said("event", "server.shutdown"), permits=[ROLE])
    yield Vector(
        "critics look before a page is published",
        calls("page.publish", {"path": "news/today", "text": "we are open"}),
        duties=["acgs.tools.panel"],
    )
    yield Vector("agents talk", calls("say", {}))
    yield Vector("agents search", calls("search", {"query": "x", "limit": 100}))
    yield Vector("agents read files", calls("file.read", {"path": "notes/plan.md"}))
    yield Vector("agents ask the database", calls("db.query", {"sql": "SELECT 1", "params": [1]}))
    yield Vector(
        "agents do not export it",
        calls("db.export", {"table": "orders"}),
        [
            "policy.tool_not_permitted",
            "policy.tool_clearance_exceeded",
            "policy.tool_held",
            high,
        ],
        [ROLE],
    )
    yield Vector(
        "executives export it after a person looked",
        calls("db.export", {"table": "orders"}, principal__roles=["executive"]),
        ["policy.tool_held", high],
        [ROLE],
    )
    yield Vector(
        "judges send no mail",
        said(
            "query",
            "email.send",
            principal__roles=["judicial"],
        ),
        ["policy.tool_not_permitted"],
        [ROLE],
    )
    yield Vector(
        "what changes the database waits",
        calls("db.write", {"sql": "update t set a=1"}),
        ["policy.tool_held"],
        [ROLE],
    )
    yield Vector(
        "what deletes waits",
        calls("file.delete", {"path": "a"}),
        ["policy.tool_held", high],
        [ROLE],
    )
    yield Vector(
        "what runs code waits",
        calls("code.execute", {"language": "python", "code": "1"}),
        ["policy.tool_held", high],
        [ROLE],
    )
    yield Vector(
        "the shell never runs",
        calls("shell.run", {"command": "ls"}, principal__roles=["executive"]),
        ["policy.tool_refused", high],
        [ROLE],
    )
    yield Vector("the verb beside a harmless tool", asked({"message.action": "wipe"}), [high], BOTH)
    yield Vector(
        "critical is for people", asked({"message.priority": 3}), ["policy.critical_priority"]
    )
    yield Vector("high is not critical", asked({"message.priority": 2}))


def arguments() -> Iterator[Vector]:
    transfer = {"to": "DE02", "amount": 10, "currency": "EUR"}
    held = ["policy.tool_held", "policy.high_impact"]
    yield Vector("a transfer waits", calls("payment.transfer", transfer), held, [ROLE])
    for name, changes, code in (
        ("without its amount", {"amount": None}, "policy.argument_missing"),
        ("with force", {"force": True}, "policy.argument_unexpected"),
        ("of words", {"amount": "10"}, "policy.argument_type"),
        ("of nothing", {"amount": 0}, "policy.argument_range"),
        ("of a debt", {"amount": -10}, "policy.argument_range"),
        ("of too much", {"amount": 1000000.01}, "policy.argument_range"),
        ("in no currency", {"currency": "eur"}, "policy.argument_pattern"),
        ("to a novel", {"to": "x" * 65}, "policy.argument_length"),
    ):
        yield Vector(
            f"a transfer {name}",
            calls("payment.transfer", {**transfer, **changes}),
            [*held, code],
            [ROLE],
        )
    refund = {"order": "o-1", "amount": 100, "currency": "EUR"}
    yield Vector("a small refund", calls("payment.refund", refund))
    yield Vector(
        "a large refund",
        calls("payment.refund", {**refund, "amount": 100.01}),
        ["policy.argument_held"],
    )
    yield Vector(
        "a mail to many",
        calls("email.send", {"to": ["ann@example.com", "bob@example.com"]}),
    )
    yield Vector(
        "a mail to nobody",
        calls("email.send", {"to": ["ann@example.com", "nobody"]}),
        ["policy.argument_pattern"],
    )
    yield Vector(
        "a header in a subject",
        calls("email.send", {"subject": "hi\r\nBcc: all@example.com"}),
        ["policy.argument_pattern"],
    )
    yield Vector("a mail without arguments", calls("email.send", {}))
    yield Vector(
        "half a result",
        calls("search", {"query": "x", "limit": 1.5}),
        ["policy.argument_type"],
    )
    yield Vector("a question of 1000 letters", calls("search", {"query": "x" * 1000}))
    yield Vector(
        "an open tool and an argument that it has",
        calls("translate", {"to": 5, "tone": "kind"}),
        ["policy.argument_type"],
    )
    yield Vector("an open tool and one that it has not", calls("translate", {"tone": "kind"}))
    yield Vector("the smallest refund", calls("payment.refund", {**refund, "amount": 0.01}))
    yield Vector("a mail to 50", calls("email.send", {"to": ["ann@example.com"] * 50}))
    yield Vector(
        "a mail to 51",
        calls("email.send", {"to": ["ann@example.com"] * 51}),
        ["policy.argument_length"],
    )
    for name, value in (("text", "x"), ("a list", ["x"]), ("a number", 1)):
        yield Vector(
            f"headers that are {name}",
            calls("http.request", {"url": "https://api.example.com/", "headers": value}),
            ["policy.argument_type"],
        )
    for name, value in (("text", "x"), ("an object", {"a": 1})):
        yield Vector(
            f"parameters that are {name}",
            calls("db.query", {"sql": "select 1", "params": value}),
            ["policy.argument_type"],
        )
    yield Vector(
        "recipients that are an object",
        calls("email.send", {"to": {"a": "ann@example.com"}}),
        ["policy.argument_type"],
    )
    yield Vector(
        "attendees that are one text",
        calls(
            "calendar.create",
            {"title": "x", "start": "2026-11-23T10:00", "attendees": "ann@example.com"},
        ),
        ["policy.argument_type"],
    )
    yield Vector(
        "a number in words",
        calls("search", {"query": "x", "limit": "5"}),
        ["policy.argument_type"],
    )
    yield Vector("no question", calls("search", {}), ["policy.argument_missing"])
    yield Vector(
        "a question with force",
        calls("search", {"query": "x", "force": True}),
        ["policy.argument_unexpected"],
    )
    yield Vector(
        "a question of 1001 letters",
        calls("search", {"query": "x" * 1001}),
        ["policy.argument_length"],
    )
    yield Vector(
        "no results", calls("search", {"query": "x", "limit": 0}), ["policy.argument_range"]
    )
    yield Vector(
        "a question that is an object",
        calls("search", {"query": {"$ne": None}}),
        ["policy.argument_type"],
    )
    for path in ("../secret", "/etc/passwd", "a/../b", "a//b", "a/./b", ""):
        yield Vector(
            f"the path {path!r}", calls("file.read", {"path": path}), ["policy.argument_pattern"]
        )
    for sql in ("drop table users", "select 1; drop table users", "with x as (select 1) select 1"):
        yield Vector(
            f"the query {sql!r}", calls("db.query", {"sql": sql}), ["policy.argument_pattern"]
        )
    for url in ("https://api.example.com", "https://data.example.com:443/x?y=1#z"):
        yield Vector(f"a request to {url}", calls("http.request", {"url": url}))
    for url in (
        "http://api.example.com/",
        "https://evil.example/",
        "https://api.example.com@evil.example/",
        "https://api.example.com.evil.example/",
        "https://api.example.com:8443/",
        "https://169.254.169.254/latest/meta-data/",
        "https://api.example.com\\@evil.example/",
    ):
        yield Vector(
            f"a request to {url}",
            calls("http.request", {"url": url}),
            ["policy.host_not_permitted"],
        )
    yield Vector(
        "a method that deletes",
        calls("http.request", {"url": "https://api.example.com/", "method": "DELETE"}),
        ["policy.argument_pattern"],
    )


def bounds() -> Iterator[Vector]:
    big = "policy.size_exceeded"
    yield Vector("a heartbeat", said("heartbeat", message__content_size=4096), permits=[ROLE])
    yield Vector("a heavy heartbeat", said("heartbeat", message__content_size=4097), [big], [ROLE])
    yield Vector("a mebibyte", asked({"message.content_size": 1048576}))
    yield Vector("a byte more", asked({"message.content_size": 1048577}), [big])
    many = {f"a{number}": 1 for number in range(65)}
    yield Vector("64 arguments", calls("say", dict(list(many.items())[:64])))
    yield Vector("65 arguments", calls("say", many), ["policy.arguments_exceeded"])
    yield Vector(
        "a name of 257 letters",
        said("event", "x" * 257),
        ["policy.name_too_long"],
        [ROLE],
    )
    yield Vector("a name of 256 letters", said("event", "x" * 256), permits=[ROLE])
    for part in ("action", "tool"):
        yield Vector(
            f"{part} of 257 letters by itself",
            said("event", "note", **{f"message__{part}": "x" * 257}),
            ["policy.name_too_long", "policy.tool_unknown"],
            [ROLE],
        )
    yield Vector("nothing at all", asked({"message.content_size": 0}))
    yield Vector(
        "a resource of 2049 letters",
        asked({"message.resource": "x" * 2049}),
        ["policy.name_too_long"],
    )
    yield Vector("a resource of 2048 letters", asked({"message.resource": "x" * 2048}))


def labels() -> Iterator[Vector]:
    def marked(*names: str, **changes: Any) -> Any:
        return asked({"message.metadata": {"labels": list(names)}, **_dotted(changes)})

    yield Vector("a public mail", marked("public"))
    yield Vector("an internal mail", marked("internal"))
    yield Vector("a confidential mail", marked("confidential"), ["policy.label_exceeded"])
    yield Vector("the highest counts", marked("public", "confidential"), ["policy.label_exceeded"])
    yield Vector(
        "a restricted mail",
        marked("restricted"),
        ["policy.clearance_exceeded", "policy.label_exceeded"],
    )
    yield Vector(
        "a restricted mail of the executive",
        marked("restricted", principal__roles=["executive"]),
        ["policy.label_exceeded"],
    )
    yield Vector("a label that does not exist", marked("secret-ish"), ["policy.label_unknown"])
    yield Vector(
        "restricted words of an agent",
        said("event", message__metadata={"labels": ["restricted"]}),
        ["policy.clearance_exceeded"],
        [ROLE],
    )
    yield Vector(
        "restricted words of a judge",
        said("event", message__metadata={"labels": ["restricted"]}, principal__roles=["judicial"]),
        permits=[ROLE],
    )
    yield Vector(
        "confidential words in a ticket",
        calls("ticket.create", {"title": "x"}, message__metadata={"labels": ["confidential"]}),
    )
    yield Vector(
        "restricted data for an agent",
        calls("service.deploy", {"service": "api", "version": "1"}),
        [
            "policy.tool_not_permitted",
            "policy.tool_clearance_exceeded",
            "policy.tool_held",
            "policy.high_impact",
        ],
        [ROLE],
    )


def findings() -> Iterator[Vector]:
    redact, secret, injection = (
        "acgs.findings.redact_pii",
        "acgs.findings.notify_secret",
        "acgs.findings.notify_injection",
    )
    yield Vector(
        "a secret in a mail",
        asked({"findings": [found("secret", "/args/body")]}),
        ["policy.secret_found"],
        duties=[secret],
    )
    yield Vector(
        "a secret between agents",
        said("event", findings=[found("secret", "/text")]),
        ["policy.secret_found"],
        [ROLE],
        [secret],
    )
    yield Vector(
        "an injection",
        asked({"findings": [found("injection", "/text")]}),
        ["policy.injection_found"],
        duties=[injection],
    )
    yield Vector(
        "all at once",
        asked(
            {
                "findings": [
                    found("injection", "/text"),
                    found("secret", "/text"),
                    email("/args/body"),
                ]
            }
        ),
        ["policy.injection_found", "policy.secret_found"],
        duties=[injection, secret, redact],
    )
    yield Vector("the address of a mail", asked({"findings": [email("/args/to")]}))
    yield Vector("the second address", asked({"findings": [email("/args/to/1")]}))
    yield Vector(
        "an address in its body", asked({"findings": [email("/args/body")]}), duties=[redact]
    )
    yield Vector(
        "a card where an address belongs",
        asked({"findings": [found("pii", "/args/to", "payment_card")]}),
        duties=[redact],
    )
    yield Vector(
        "more than could be read",
        asked({"findings": [found("pii", "", "overflow")]}),
        ["policy.pii_leaves"],
    )
    yield Vector(
        "an address in a request",
        calls(
            "http.request",
            {"url": "https://api.example.com/"},
            findings=[email("/args/body")],
        ),
        ["policy.pii_leaves"],
    )
    yield Vector(
        "an address for a tool that nobody described",
        calls("frobnicate", {}, findings=[email("/text")]),
        ["policy.tool_unknown", "policy.pii_leaves"],
        [ROLE],
    )
    yield Vector(
        "an address in a post",
        calls("message.post", {"channel": "c", "text": "t"}, findings=[email("/args/text")]),
        ["policy.pii_refused"],
    )
    yield Vector(
        "a secret to all",
        said("event", findings=[found("secret", "/text")], message__recipient="*"),
        ["policy.secret_found"],
        [ROLE],
        [secret],
    )
    yield Vector("an address between agents", calls("say", {}, findings=[email("/text")]))
    yield Vector(
        "an address to all",
        said("event", findings=[email("/text")], message__recipient="*"),
        ["policy.pii_broadcast"],
        [ROLE],
    )


def malformed() -> Iterator[Vector]:
    places = (
        *(f"principal.{name}" for name in ("tenant", "agent", "roles")),
        *(
            f"message.{name}"
            for name in ASKED["message"]
            if name not in ("args_digest", "content_digest")
        ),
        "principal",
        "message",
        "findings",
        "target",
    )
    wrong: list[tuple[str, Any]] = [
        *((f"without {place}", asked({place: ...})) for place in places),
        *((f"{place} is true", asked({place: True})) for place in places),
        *((f"the input is {json.dumps(value)}", value) for value in ({}, [], None, "x", 1, True)),
        *(
            (f"{place} is {json.dumps(value)}", asked({place: value}))
            for place, value in (
                ("principal.tenant", "ACME"),
                ("principal.agent", ""),
                ("principal.agent", "a b"),
                ("principal.roles", ["agent", 5]),
                ("principal.roles", {"a": "agent"}),
                ("message.content_size", "120"),
                ("message.metadata", {"labels": {"a": "internal"}}),
                ("findings", {}),
                ("target", {"known": True, "agent": 5, "roles": []}),
                ("target", {"known": True, "agent": "a", "roles": {"a": "agent"}}),
                ("message.recipient", "**"),
                ("message.recipient", "Mailer"),
                ("message.type", "order"),
                ("message.priority", 4),
                ("message.priority", -1),
                ("message.priority", 0.5),
                ("message.priority", "critical"),
                ("message.content_size", -1),
                ("message.metadata", {"labels": "internal"}),
                ("message.metadata", {"labels": [1]}),
                ("findings", ["pii"]),
                ("findings", [{"kind": "odd", "detector": "x", "path": ""}]),
                ("findings", [{"kind": "pii", "detector": "x"}]),
                ("target", {"known": True, "agent": "a"}),
                ("target", {"known": "yes", "agent": "a", "roles": []}),
                ("target", {"known": True, "agent": "a", "roles": [1]}),
            )
        ),
    ]
    for name, given in wrong:
        yield Vector(name, given, ["policy.input_invalid"], permits=[])


def books() -> dict[str, Book]:
    """Every file of vectors, by name."""
    return {
        "identity": Book("who speaks, and under which law", list(identity())),
        "role_by_type": Book("every role sends every type", list(role_by_type())),
        "roles": Book("priorities, broadcasts, several roles", list(roles())),
        "powers": Book("the separation of powers", list(powers())),
        "tools": Book("which tools run, and what waits", list(tools())),
        "arguments": Book("what tools are given", list(arguments())),
        "bounds": Book("how much is too much", list(bounds())),
        "labels": Book("classified information", list(labels())),
        "findings": Book("personal data, secrets, injections", list(findings())),
        "malformed": Book("inputs that cannot be judged", list(malformed())),
    }


def main() -> None:
    """Write the files."""
    for name, book in books().items():
        (HERE / f"{name}.json").write_text(book.text())


if __name__ == "__main__":
    main()
