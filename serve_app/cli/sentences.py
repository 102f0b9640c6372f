"""Where every error of a command becomes a sentence on stderr and an exit status."""

from __future__ import annotations

from typing import Any, Final

import typer
from typer.core import TyperGroup

from actors.ledger.errors import ProofError, TamperedError
from cluster.errors import ConfigurationError
from policies.errors import DependencyError, GovernanceError, RefusalError
from serve_app.cli.client import ProblemError
from serve_app.cli.exits import Exit
from serve_app.cli.output import complain
from serve_app.cli.traces import TraceError

# The first that fits.
_EXITS: Final = (
    (TamperedError, Exit.TAMPERED),
    (ProofError, Exit.TAMPERED),
    (TraceError, Exit.USAGE),
    (ConfigurationError, Exit.USAGE),
    (DependencyError, Exit.UNAVAILABLE),
    (RefusalError, Exit.REFUSED),
)


class Sentences(TyperGroup):
    """A group of commands whose errors are told, not thrown."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what it raises for the user is said, and exits as documented."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader has seen enough: typer ends quietly
            raise
        except (ProblemError, TraceError, GovernanceError, OSError) as error:
            complain(sentence(error))
            raise typer.Exit(exit_of(error)) from error


def exit_of(error: Exception) -> Exit:
    """Return the exit status that an error calls for."""
    if isinstance(error, ProblemError):
        return error.exit
    return next((status for kind, status in _EXITS if isinstance(error, kind)), Exit.FAILED)


def sentence(error: Exception) -> str:
    """Return what to tell the user."""
    match error:
        case TamperedError():
            return f"TAMPERED  {error.code}: {error}"
        case ProofError():
            return f"NOT PROVED  {error.code}: {error}"
        case OSError() if error.filename:
            return f"{error.filename}: {error.strerror}"
        case _:
            return str(error)
