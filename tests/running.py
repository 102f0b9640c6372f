"""A whole bus in processes of its own: `acgs run`, as a user starts it, on a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from cluster.clock import SystemClock
from cluster.constants import CONSTITUTIONAL_HASH
from cluster.identity.devkeys import mint_token
from cluster.session import free_port
from cluster.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 90.0

# What a process of ours is called, as the operating system shows it.
PROCESSES: Mapping[str, bytes] = {
    "store": b"valkey-server",
    "keeper": b"ray::KeeperActor",
    "ledger": b"ray::LedgerActor",
    "mailbox": b"ray::MailboxActor",
    "reviews": b"ray::ReviewsActor",
    "herald": b"ray::HeraldActor",
    "gateway": b"ray::ServeReplica:acgs:Gateway",
}


@dataclass
class RunningBus:
    """One `acgs run`. Use `started` to get one."""

    settings: Settings
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.settings.http_host}:{self.settings.http_port}"

    @property
    def ledger_dir(self) -> Path:
        return self.settings.data_dir / "ledger"

    def token(self, agent: str, *roles: str, tenant: str = "acme", ttl_s: int = 3600) -> str:
        return mint_token(
            self.settings,
            tenant=tenant,
            agent=agent,
            roles=roles or ("agent",),
            ttl_s=ttl_s,
            now=SystemClock().now(),
        )

    def client(self, agent: str, *roles: str, tenant: str = "acme") -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(agent, *roles, tenant=tenant)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def register(self, *agents: str, tenant: str = "acme") -> None:
        with self.client("admin", "tenant_admin", tenant=tenant) as admin:
            for agent in agents:
                answer = admin.put(f"/v1/agents/{agent}", json={"agent_type": "test"})
                assert answer.status_code in (200, 201), answer.text

    def pids(self, process: str) -> list[int]:
        """The processes of this bus with that part to play."""
        return [pid for pid, line in self.processes() if PROCESSES[process] in line]

    def processes(self) -> list[tuple[int, bytes]]:
        """Every process of this bus: its pid and its command line."""
        return list(_descendants(self))

    def kill(self, process: str) -> list[int]:
        """`kill -9` every process with that part to play; return which."""
        pids = self.pids(process)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pids

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> float:
        """Return the seconds until `/health/ready` answers 200."""
        started_s = time.monotonic()
        answer = "nothing"
        while time.monotonic() - started_s < timeout_s:
            assert self.process.poll() is None, f"acgs run ended:\n{self.log.read_text()[-4000:]}"
            with contextlib.suppress(httpx.TransportError):
                response = httpx.get(f"{self.url}/health/ready", timeout=5)
                answer = response.text
                # A bus that is just dying may answer on the same port: this one must say it too.
                if response.status_code == httpx.codes.OK and "ready in" in self.log.read_text():
                    return time.monotonic() - started_s
            time.sleep(0.1)
        raise AssertionError(f"not ready after {timeout_s:.0f} s: {answer}\n{self.log.read_text()}")

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        finally:
            self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextlib.contextmanager
def started(folder: Path, **environment: str) -> Iterator[RunningBus]:
    """Start a bus with its data in `folder` and wait until it is ready."""
    port = int(environment.get("ACGS_HTTP_PORT", free_port()))
    settings = Settings(data_dir=folder, http_port=port)
    log = folder / "run.log"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "serve_app.cli.main", "run"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "ACGS_DATA_DIR": str(folder),
                "ACGS_HTTP_PORT": str(settings.http_port),
                **environment,
            },
        )
        with RunningBus(settings, process, log) as bus:
            bus.wait_until_ready()
            yield bus


def a_body(**changes: Any) -> dict[str, Any]:
    """A message as JSON that the default policy allows."""
    body: dict[str, Any] = {
        "to_agent": "tools",
        "constitutional_hash": CONSTITUTIONAL_HASH,
        "content": {"action": "web.search", "tool": "web.search", "args": {"query": "weather"}},
    }
    return {**body, **changes}


def _descendants(bus: RunningBus) -> Iterator[tuple[int, bytes]]:
    """Processes that descend from ours, or that hold its data folder in their command line."""
    parents: dict[int, int] = {}
    lines: dict[int, bytes] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_bytes()
            lines[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(folder.name)] = int(stat.rpartition(b")")[2].split()[1])
    ours = {bus.process.pid}
    data = str(bus.settings.data_dir).encode()
    for pid, line in lines.items():
        chain = pid
        while chain in parents and chain not in ours:
            chain = parents[chain]
        if chain in ours or data in line:
            yield pid, line
