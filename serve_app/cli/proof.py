"""`acgs ledger proof` and `check`: prove that a decision is in the ledger, and check it offline."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from actors.ledger.checkpoint import Checkpoint, VerifierKey, opened, parse
from actors.ledger.entry import open_entry
from actors.ledger.errors import ProofError
from actors.ledger.merkle import leaf_hash, verify_inclusion
from serve_app.cli.keys import KeyOption, trusted_key
from serve_app.cli.options import Tenant
from serve_app.cli.output import pairs, say
from serve_app.cli.surroundings import connect, quiet_settings

_ACCEPT: Final = {"text": "text/plain", "json": "application/json"}


class ProofFormat(StrEnum):
    """What `-o` takes here: a C2SP tlog-proof, or JSON with the entry and the root log's proof."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """An entry that is in a log whose checkpoint a trusted key signed.

    `root` is the root log's checkpoint that covers it; None when the proof has none.
    """

    body: Mapping[str, Any]
    leaf_index: int
    checkpoint: Checkpoint
    root: Checkpoint | None


def proof(
    decision_id: Annotated[str, typer.Argument(help="as the decision or `acgs tail` names it")],
    *,
    tenant: Tenant = "acme",
    output: Annotated[
        ProofFormat, typer.Option("-o", "--output", help="a C2SP tlog-proof, or JSON for `check`")
    ] = ProofFormat.TEXT,
) -> None:
    """Print the proof that a decision is in the ledger."""
    with connect(tenant, "auditor", "auditor") as client:
        text = client.text(f"/v1/decisions/{decision_id}/proof", accept=_ACCEPT[output])
    typer.echo(text.rstrip("\n"))


def check(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="what `proof -o json` printed")
    ],
    *,
    key: KeyOption = None,
) -> None:
    """Check a proof offline, with nothing but the public key. Exits 7 if it does not hold."""
    trusted = trusted_key(key, quiet_settings())
    try:
        given = json.loads(file.read_bytes())
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}") from error
    show_proved(checked(given, trusted))


def show_proved(proved: Proved) -> None:
    """Show what a proof proves."""
    decision = proved.body["decision"]
    say(f"PROVED  decision {decision['decision_id']}")
    pairs(
        [
            ("effect", f"{decision['effect']} ({decision['lane']} lane)"),
            ("who", f"{decision['agent']} of {decision['tenant']}, {decision['decided_at']}"),
            ("what", decision["tool"] or decision["action"] or decision["message_type"]),
            ("leaf", f"{proved.leaf_index} of {proved.checkpoint.size}"),
            ("signed by", proved.checkpoint.origin),
            ("covered by", proved.root.origin if proved.root else "the root log: not yet"),
        ]
    )


def checked(proof: Mapping[str, Any], key: VerifierKey) -> Proved:
    """Return what the proof proves under the root log's key.

    Raises ProofError or TamperedError when it does not, whatever it looks like.
    """
    try:
        entry, checkpoint = _included(proof, key)
        body = open_entry(entry).body
        root = None
        if proof["root"] is not None:
            covered, root = _included(proof["root"], key)
            if root.origin != key.name or covered != checkpoint.note.encode():
                raise ProofError("the root log's entry is another checkpoint than the proof's")
        if not isinstance(body.get("decision"), dict):
            raise ProofError("the entry is about no decision")
        index = int(proof["leaf_index"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProofError(
            f"this is no proof as `acgs ledger proof -o json` prints it: {error!r}"
        ) from error
    return Proved(body=body, leaf_index=index, checkpoint=checkpoint, root=root)


def _included(part: Mapping[str, Any], key: VerifierKey) -> tuple[bytes, Checkpoint]:
    """Return the entry, and the signed checkpoint to which its path leads."""
    entry = b64decode(part["entry"], validate=True)
    origin = parse(part["checkpoint"]).origin
    if origin != key.name and not origin.startswith(f"{key.name}/t/"):
        raise ProofError(f"it is of the log {origin}, not of {key.name}")
    checkpoint, _ = opened(part["checkpoint"], [VerifierKey(origin, key.public)])
    verify_inclusion(
        leaf_hash(entry),
        part["leaf_index"],
        checkpoint.size,
        path=[b64decode(each, validate=True) for each in part["hashes"]],
        root=checkpoint.root,
    )
    return entry, checkpoint
