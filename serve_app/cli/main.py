"""The `acgs` command: every verb in one place."""

from __future__ import annotations

import typer

from serve_app.cli import agents, demo, inbox, ledger, run, send, token

app = typer.Typer(
    name="acgs",
    no_args_is_help=True,
    help="ACGS-2: a governance bus for AI agents. Exit status: 0 allow or success, 3 deny, "
    "4 held for review, 5 unavailable, 6 refused, 7 the ledger does not verify.",
)
app.command("run")(run.run)
app.command("token")(token.token)
app.command("send")(send.send)
app.command("decide")(send.decide)
app.command("inbox")(inbox.inbox)
app.command("tail")(inbox.tail)
app.command("demo")(demo.demo)
app.add_typer(agents.app, name="agents")
app.add_typer(ledger.app, name="ledger")

if __name__ == "__main__":
    app()
