"""`acgs`: the whole command, one line for each part of it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Final

import typer

from cluster.constants import CONSTITUTIONAL_HASH
from serve_app.cli import (
    agents,
    authority,
    console,
    deliberation,
    demo,
    inbox,
    ledger,
    notifications,
    reviews,
    run,
    send,
    tail,
    token,
)
from serve_app.cli.exits import MEANING
from serve_app.cli.sentences import Sentences

_START: Final = "Start"
_ACT: Final = "Act as an agent"
_DECIDE: Final = "Decide on what is held"
_LOOK: Final = "Look, and verify"
_EXITS: Final = ";  ".join(f"{status.value} {text}" for status, text in MEANING.items())
_HELP: Final = (
    "ACGS-2: a governance bus for AI agents.\n\n"
    "Every message or tool call is judged before it happens, and each judgement can be proved "
    "afterwards. The bus is where ACGS_URL says, else on this machine. On a laptop each command "
    "mints its own token; elsewhere ACGS_TOKEN holds it. Data goes to stdout, words about it to "
    "stderr; -o json and -o jsonl are for programs."
)

app = typer.Typer(
    name="acgs",
    cls=Sentences,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a traceback that shows values would show tokens
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Exit status:  {_EXITS}.",
)
app.command("run", rich_help_panel=_START)(run.run)
app.command("demo", rich_help_panel=_START)(demo.demo)
app.command("token", rich_help_panel=_START)(token.token)
app.add_typer(agents.app, name="agents", rich_help_panel=_ACT)
app.command("send", rich_help_panel=_ACT)(send.send)
app.command("decide", rich_help_panel=_ACT)(send.decide)
app.command("inbox", rich_help_panel=_ACT)(inbox.inbox)
app.command("console", rich_help_panel=_DECIDE)(console.console)
reviews.app.command("opine")(deliberation.opine)
reviews.app.command("break-glass")(deliberation.break_glass)
app.add_typer(reviews.app, name="reviews", rich_help_panel=_DECIDE)
app.add_typer(authority.delegations, name="delegations", rich_help_panel=_DECIDE)
app.add_typer(authority.shifts, name="on-call", rich_help_panel=_DECIDE)
app.add_typer(authority.critics, name="critics", rich_help_panel=_DECIDE)
app.add_typer(notifications.app, name="notifications", rich_help_panel=_LOOK)
app.command("tail", rich_help_panel=_LOOK)(tail.tail)
app.add_typer(ledger.app, name="ledger", rich_help_panel=_LOOK)


def _show_version(value: bool) -> None:  # noqa: FBT001  # typer's shape
    if value:
        typer.echo(f"acgs {version('acgs-agent-bus')}, constitution {CONSTITUTIONAL_HASH}")
        raise typer.Exit


@app.callback(help=_HELP)
def acgs(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show it, and exit."),
    ] = False,
) -> None:
    """Hold the options that come before the command."""


if __name__ == "__main__":
    app()
