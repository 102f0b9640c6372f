"""A bus that must refuse to start: `acgs run` in a process of its own, and what it said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from running import ROOT

from cluster.session import free_port

START_TIMEOUT_S: Final = 240.0


def refused_start(folder: Path, **environment: str) -> tuple[int, str]:
    """Run `acgs run` on the folder until it gives up; return its exit status and its words."""
    ended = subprocess.run(
        [sys.executable, "-m", "serve_app.cli.main", "run"],
        cwd=ROOT,
        env={
            **os.environ,
            "ACGS_DATA_DIR": str(folder),
            "ACGS_HTTP_PORT": str(free_port()),
            "COLUMNS": "500",  # so that no sentence is wrapped
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    return ended.returncode, ended.stdout.decode()
