"""`acgs inbox`: what an agent has received."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from serve_app.cli.options import AgentName, Output, Tenant
from serve_app.cli.output import Format, note, say, show_rows
from serve_app.cli.surroundings import connect


def inbox(
    agent: AgentName = "tools",
    *,
    tenant: Tenant = "acme",
    maximum: Annotated[int, typer.Option("--max", min=1, max=100, help="at most so many")] = 10,
    wait: Annotated[int, typer.Option("--wait", min=0, max=60, help="seconds to wait for one")] = 0,
    lease: Annotated[int, typer.Option("--lease", min=1, max=3600, help="seconds")] = 30,
    ack: Annotated[bool, typer.Option("--ack/--no-ack", help="say that what is shown is done")] = (
        True
    ),
    output: Output = Format.TABLE,
) -> None:
    """Receive an agent's messages, most urgent first.

    With --no-ack they come again when their lease ends.
    """
    with connect(tenant, agent) as client:
        asked = {"max": maximum, "wait_s": wait, "lease_s": lease}
        received = client.call("GET", "/v1/mailbox", params=asked)["messages"]
        if output is Format.TABLE:
            _show(received)
        else:
            show_rows(received, (), form=output)
        # After they are shown: what was not shown is not done.
        for item in received if ack else ():
            client.call("POST", f"/v1/mailbox/{item['lease_id']}:ack")
    if not received:
        note(f"nothing waits for {agent} of {tenant}")


def _show(received: Sequence[dict[str, Any]]) -> None:
    for item in received:
        message = item["message"]
        say(
            f"{message['sent_at']}  {message['from_agent']} -> {message['to_agent']}  "
            f"{message['message_type']}, {message['priority']}, attempt {item['attempt']}"
        )
        say(f"  decision  {item['decision_id']}")
        say(f"  {json.dumps(message['content'])}")
