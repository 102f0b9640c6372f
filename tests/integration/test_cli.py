"""Every command of `acgs` as a user runs it, against a bus: what it prints, where, and its exit."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from running import ROOT, RunningBus

from serve_app.cli.exits import Exit

SEARCH = '{"tool": "web.search", "args": {"query": "weather"}}'
SHELL = '{"tool": "shell.run", "args": {"command": "ls"}}'
DELETE = '{"tool": "file.delete", "args": {"path": "reports/q1.md"}}'
TRANSFER = (
    '{"tool": "payment.transfer", '
    '"args": {"to": "PT50000201231234567890154", "amount": 25000, "currency": "EUR"}}'
)
Acgs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def acgs(bus: RunningBus) -> Acgs:
    """Run the command in a process of its own, on the shared bus."""

    def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ACGS_")}
        return subprocess.run(
            [sys.executable, "-m", "serve_app.cli.main", *words],
            cwd=ROOT,
            env={
                **inherited,
                "ACGS_DATA_DIR": str(bus.settings.data_dir),
                "ACGS_HTTP_PORT": str(bus.settings.http_port),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return command


@pytest.fixture(scope="session")
def denied(acgs: Acgs) -> dict[str, Any]:
    """A decision that is in the ledger."""
    answer = acgs("send", SHELL, "-o", "json")
    assert answer.returncode == Exit.DENIED, answer.stderr
    decision: dict[str, Any] = json.loads(answer.stdout)
    return decision


@pytest.mark.parametrize(
    ("content", "effect", "status"),
    [
        (SEARCH, "allow", Exit.OK),
        (SHELL, "deny", Exit.DENIED),
        (TRANSFER, "review", Exit.HELD),
    ],
)
@pytest.mark.parametrize("command", ["send", "decide"])
def test_one_message_exits_with_its_effect(
    acgs: Acgs, command: str, content: str, *, effect: str, status: Exit
) -> None:
    answer = acgs(command, content, "-o", "json")
    assert answer.returncode == status, answer.stderr
    assert answer.stderr == ""
    assert json.loads(answer.stdout)["effect"] == effect


def test_a_person_reads_the_effect_the_reasons_and_what_to_do(acgs: Acgs) -> None:
    answer = acgs("decide", SHELL)
    assert answer.stdout.startswith("DENY  ")
    assert "policy.tool_refused" in answer.stdout
    assert "remedy: use another tool" in answer.stdout
    assert "\x1b" not in answer.stdout, "no colours where no terminal is"


def test_a_file_is_governed_and_its_verdicts_are_tallied(acgs: Acgs) -> None:
    answer = acgs("send", "--file", "tests/data/traces.jsonl", "-o", "json")
    assert answer.returncode == Exit.OK, answer.stderr
    facts = json.loads(answer.stdout)
    assert facts["governed"] == 31
    assert sum(row["count"] for row in facts["verdicts"]) == 31
    assert {row["effect"] for row in facts["verdicts"]} == {"allow", "review", "deny"}
    harmful = next(row for row in facts["sources"] if row["labelled"] == "harmful")
    assert harmful["allow"] == 0, "nothing that our own traces call harmful is let through"
    assert set(facts["latency_ms"]) == {"p50", "p95", "p99"}


def test_a_file_as_jsonl_is_every_decision_in_the_order_of_the_file(acgs: Acgs) -> None:
    answer = acgs("send", "--file", "tests/data/traces.jsonl", "--limit", "5", "-o", "jsonl")
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [line["trace"] for line in lines] == [f"traces.jsonl:{n}" for n in range(1, 6)]
    assert all(line["decision_id"] for line in lines)


def test_a_line_that_is_no_trace_is_named_before_anything_is_sent(
    acgs: Acgs, tmp_path: Path
) -> None:
    before = acgs("tail", "--no-follow", "-n", "1", "-o", "json").stdout
    file = tmp_path / "bad.jsonl"
    file.write_text(f"{SEARCH}\n[1]\n")
    answer = acgs("send", "--file", str(file))
    assert answer.returncode == Exit.USAGE
    assert answer.stderr == "bad.jsonl:2 is not a JSON object\n"
    time.sleep(1.5)  # what had been sent would be in the tree by now
    assert acgs("tail", "--no-follow", "-n", "1", "-o", "json").stdout == before


def test_a_line_that_the_bus_refuses_is_counted_and_the_rest_is_governed(
    acgs: Acgs, tmp_path: Path
) -> None:
    file = tmp_path / "huge.jsonl"
    file.write_text(json.dumps({"tool": "say", "text": "a " * 600_000}) + f"\n{SEARCH}\n")
    answer = acgs("send", "--file", str(file), "-o", "json")
    assert answer.returncode == Exit.REFUSED, answer.stderr
    facts = json.loads(answer.stdout)
    assert facts["governed"] == 1
    assert facts["refused"] == {"message.too_large": 1}


def test_a_message_is_received_once_it_is_allowed_and_gone_once_it_is_acknowledged(
    acgs: Acgs,
) -> None:
    acgs("agents", "register", "reader")
    assert acgs("send", "--to", "reader", SEARCH).returncode == Exit.OK
    kept = json.loads(acgs("inbox", "reader", "--no-ack", "--lease", "1", "-o", "json").stdout)
    assert [item["message"]["content"] for item in kept] == [json.loads(SEARCH)]
    again = acgs("inbox", "reader", "--wait", "30")
    assert "planner -> reader" in again.stdout
    assert "attempt 2" in again.stdout
    empty = acgs("inbox", "reader", "-o", "json")
    assert json.loads(empty.stdout) == []
    assert empty.stderr == "nothing waits for reader of acme\n"


def test_agents_are_registered_listed_and_removed(acgs: Acgs) -> None:
    added = acgs("agents", "register", "clerk", "--type", "human", "--capability", "filing")
    assert (added.returncode, added.stdout) == (Exit.OK, "")
    assert added.stderr == "registered clerk in acme\n"
    listed = json.loads(acgs("agents", "list", "-o", "json").stdout)
    clerk = next(row for row in listed if row["agent_id"] == "clerk")
    assert (clerk["agent_type"], clerk["capabilities"]) == ("human", ["filing"])
    assert "clerk" in acgs("agents", "list", COLUMNS="80").stdout
    assert acgs("agents", "remove", "clerk").returncode == Exit.OK
    gone = acgs("agents", "remove", "clerk")
    assert gone.returncode == Exit.REFUSED
    assert gone.stderr.startswith("agent.unknown: ")


def held(acgs: Acgs) -> str:
    """Send what is held for one reviewer; return its review's id."""
    answer = acgs("send", DELETE, "-o", "json")
    assert answer.returncode == Exit.HELD, answer.stderr
    review_id: str = json.loads(answer.stdout)["review"]["review_id"]
    return review_id


def test_a_person_sees_what_is_held_and_lets_it_go(acgs: Acgs) -> None:
    review_id = held(acgs)
    listed = json.loads(acgs("reviews", "list", "-n", "500", "-o", "json").stdout)
    assert review_id in [review["review_id"] for review in listed]
    assert review_id in acgs("reviews", "list", "-n", "500", COLUMNS="80").stdout
    shown = acgs("reviews", "show", review_id)
    for part in ("pending", "planner of acme", "policy.tool_held", '"path": "reports/q1.md"'):
        assert part in shown.stdout, part
    facts = json.loads(acgs("reviews", "show", review_id, "-o", "json").stdout)
    assert facts["message"]["content"] == json.loads(DELETE)
    claimed = acgs("reviews", "claim", review_id, "--as", "rita")
    assert claimed.stdout == f"claimed  {review_id}, 0 of 1 approved\n"
    digest = facts["action_digest"]
    vote = ("reviews", "approve", review_id, "--reason", "a copy is kept", "--digest", digest)
    taken = acgs(*vote)
    assert (taken.returncode, taken.stdout) == (Exit.REFUSED, "")
    assert taken.stderr.startswith("review.claimed: rita looks at it")
    gone = acgs(*vote, "--as", "rita", "-o", "json")
    assert gone.returncode == Exit.OK, gone.stderr
    assert json.loads(gone.stdout)["state"] == "consumed"
    again = acgs("reviews", "show", review_id)
    assert "approve by rita (reviewer)" in again.stdout
    assert again.stderr == "nothing is held for this review any more\n"
    assert review_id not in acgs("reviews", "list", "-n", "500").stdout


def test_what_is_private_is_masked_until_it_is_revealed(acgs: Acgs) -> None:
    mail = {"mail": "anna.svensson@example.com"}
    content = json.dumps({"action": "crm.update", "tool": "crm.update", "args": mail})
    answer = acgs("send", content, "-o", "json")
    review_id = json.loads(answer.stdout)["review"]["review_id"]
    masked = acgs("reviews", "show", review_id)
    assert "anna.svensson" not in masked.stdout
    assert '"mail": "[REDACTED:email]"' in masked.stdout
    assert masked.stderr == "private in it: email (masked; --reveal shows it)\n"
    shown = acgs("reviews", "show", review_id, "--reveal", "-o", "json")
    assert json.loads(shown.stdout)["message"]["content"]["args"] == mail
    assert shown.stderr == "private in it: email (shown, which is on record)\n"


def test_who_may_decide_is_said_shown_and_taken_back(acgs: Acgs) -> None:
    of = ("--tenant", f"t-{uuid4().hex[:16]}")
    assert "nobody lets another decide" in acgs("delegations", "list", *of).stderr
    why = ("--for", "7d", "--reason", "on holiday")
    given = acgs("delegations", "give", "dana", *why, *of, "--as", "rita")
    assert given.stderr.startswith("dana decides in the stead of rita until "), given.stderr
    listed = acgs("delegations", "list", *of)
    for part in ("rita", "dana", "reviewer", "on holiday"):
        assert part in listed.stdout, part
    narrow = acgs("delegations", "give", "carl", *why, "--only", "tenant_admin", *of)
    assert narrow.returncode == Exit.REFUSED
    assert narrow.stderr.startswith("standin.role_missing: ")
    assert acgs("delegations", "withdraw", "dana", "--from", "rita", *of).returncode == Exit.OK
    again = acgs("delegations", "withdraw", "dana", *of, "--as", "rita")
    assert again.stderr.startswith("standin.unknown: ")

    assert acgs("on-call", "show", *of).stderr == "on call now: nobody\n"
    planned = acgs("on-call", "plan", "night", "--person", "dana", "--for", "8h", *of)
    assert planned.returncode == Exit.OK, planned.stderr
    shown = acgs("on-call", "show", *of)
    assert shown.stderr == "on call now: dana\n"
    assert "night" in shown.stdout
    begins = ("--from", "2020-01-01", "-o", "json")
    over = acgs("on-call", "plan", "past", "--person", "dana", "--for", "8h", *begins, *of)
    assert over.stderr.startswith("standin.period: ")
    assert acgs("on-call", "remove", "night", *of).returncode == Exit.OK
    assert json.loads(acgs("on-call", "show", *of, "-o", "json").stdout)["now"] == []

    assert "no agent is a critic" in acgs("critics", "list", *of).stderr
    assert "acgs agents register" in acgs("critics", "seat", "carl", *of).stderr
    assert acgs("agents", "register", "carl", *of).returncode == Exit.OK
    seated = acgs("critics", "seat", "carl", "--weight", "5", *of, "-o", "json")
    assert json.loads(seated.stdout) == {"agent": "carl", "weight": 5, "registered": True}
    assert json.loads(acgs("critics", "list", *of, "-o", "json").stdout)[0]["weight"] == 5
    assert acgs("critics", "remove", "carl", *of).returncode == Exit.OK
    assert acgs("critics", "remove", "carl", *of).stderr.startswith("critic.unknown: ")


def test_critics_say_what_they_think_and_two_people_break_the_glass(acgs: Acgs) -> None:
    for name in ("carl", "cleo"):
        assert acgs("agents", "register", name).returncode in (Exit.OK, Exit.REFUSED)
        seated = acgs("critics", "seat", name, "--weight", "1")
        assert seated.returncode == Exit.OK, seated.stderr
    page = '{"tool": "page.publish", "args": {"path": "news/today", "text": "we are open"}}'
    sent = acgs("send", page, "-o", "json")
    assert sent.returncode == Exit.HELD, sent.stderr
    review_id = json.loads(sent.stdout)["review"]["review_id"]
    said = ("reviews", "opine", review_id, "approve", "--reason", "it is true")
    first = acgs(*said, "--as", "carl")
    assert first.stdout.startswith(f"deliberating  {review_id}"), first.stderr
    assert "approve by critic carl" in acgs("reviews", "show", review_id).stdout
    assert acgs(*said, "--as", "mallory").stderr.startswith("review.not_called: ")
    last = acgs(*said, "--as", "cleo", "-o", "json")
    assert json.loads(last.stdout)["state"] == "consumed"

    review_id = held(acgs)
    words = ("reviews", "break-glass", review_id, "--reason", "the disk is full")
    assert acgs(*words, "--as", "tina").returncode == Exit.OK
    assert acgs(*words, "--as", "tina").stderr.startswith("review.already_voted: ")
    gone = acgs(*words, "--as", "tom", "-o", "json")
    assert json.loads(gone.stdout)["state"] == "consumed"
    assert "glass broken by tom" in acgs("reviews", "show", review_id).stdout


def test_a_person_says_no_or_lets_others_decide_and_the_agent_takes_it_back(acgs: Acgs) -> None:
    review_id = held(acgs)
    own = acgs("reviews", "approve", review_id, "--reason", "mine", "--as", "planner")
    assert own.returncode == Exit.REFUSED
    assert own.stderr.startswith("review.self_approval: ")
    assert acgs("reviews", "claim", review_id).returncode == Exit.OK
    assert acgs("reviews", "unclaim", review_id).returncode == Exit.OK
    assert acgs("reviews", "abstain", review_id, "--reason", "I know him").returncode == Exit.OK
    assert acgs("reviews", "escalate", review_id, "--reason", "above me", "--as", "rita").stdout
    words = ("reviews", "reject", review_id, "--reason", "keep it", "--as", "adam")
    answer = acgs(*words, "--role", "tenant_admin")
    assert answer.stdout.splitlines() == [
        f"rejected  {review_id}, 0 of 1 approved",
        "  review.rejected: keep it",
    ]
    other = held(acgs)
    taken_back = acgs("reviews", "cancel", other, "--reason", "not needed", "-o", "json")
    assert json.loads(taken_back.stdout)["state"] == "cancelled"
    ended = json.loads(acgs("reviews", "list", "--state", "cancelled", "-o", "json").stdout)
    assert other in [review["review_id"] for review in ended]


def test_what_happens_to_reviews_is_watched(bus: RunningBus, acgs: Acgs) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "serve_app.cli.main", "reviews", "watch", "-o", "jsonl"],
        cwd=ROOT,
        env={
            **os.environ,
            "ACGS_DATA_DIR": str(bus.settings.data_dir),
            "ACGS_HTTP_PORT": str(bus.settings.http_port),
        },
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert watch.stdout is not None
        reader = threading.Thread(target=lambda out: [*map(lines.put, out)], args=(watch.stdout,))
        reader.start()
        try:
            _until(lambda: bool(held(acgs)) and not lines.empty())
            event = json.loads(lines.get())
            assert (event["step"], event["state"]) == ("open", "pending")
            assert event["review"]["tool"] == "file.delete"
        finally:
            watch.terminate()
            reader.join()


def test_decisions_are_tailed_as_they_are_recorded(bus: RunningBus, acgs: Acgs) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "serve_app.cli.main", "tail", "-o", "jsonl", "-n", "1"],
        cwd=ROOT,
        env={
            **os.environ,
            "ACGS_DATA_DIR": str(bus.settings.data_dir),
            "ACGS_HTTP_PORT": str(bus.settings.http_port),
        },
        stdout=subprocess.PIPE,
        text=True,
    ) as tail:
        try:
            assert tail.stdout is not None
            decision = json.loads(acgs("decide", SEARCH, "-o", "json").stdout)
            for line in tail.stdout:
                if json.loads(line)["decision_id"] == decision["decision_id"]:
                    break
        finally:
            tail.terminate()


def test_no_id_is_folded_on_a_terminal_of_80_columns(acgs: Acgs, denied: dict[str, Any]) -> None:
    for words in (("tail", "--no-follow", "-n", "50"), ("ledger", "tail", "-n", "50")):
        _until(lambda words=words: denied["decision_id"] in acgs(*words, COLUMNS="80").stdout)


def test_a_ledger_is_verified_from_its_folder_and_over_http(
    bus: RunningBus, acgs: Acgs, denied: dict[str, Any]
) -> None:
    assert denied
    key = acgs("ledger", "key").stdout.strip()
    folder = acgs("ledger", "verify", str(bus.ledger_dir), "--key", key, "-o", "json")
    assert folder.returncode == Exit.OK, folder.stderr
    logs = [log["log"] for log in json.loads(folder.stdout)["logs"]]
    assert logs[:2] == ["acgs.local", "acgs.local/t/acme"]
    served = acgs("ledger", "verify", bus.url, "--key", key, "-o", "json")
    assert served.returncode == Exit.OK, served.stderr
    assert [log["log"] for log in json.loads(served.stdout)["logs"]] == ["acgs.local/t/acme"]


def test_a_changed_ledger_is_named_with_its_place_and_exits_7(
    bus: RunningBus, acgs: Acgs, denied: dict[str, Any], *, tmp_path: Path
) -> None:
    assert denied
    copy = tmp_path / "copy"
    shutil.copytree(bus.ledger_dir, copy)
    for bundle in (copy / "t/acme/tile/entries").rglob("*"):
        if bundle.is_file():
            bundle.chmod(0o600)
            bundle.write_bytes(bundle.read_bytes().replace(b"shell.run", b"shell.ran"))
    answer = acgs("ledger", "verify", str(copy), "-o", "json")
    assert answer.returncode == Exit.TAMPERED, answer.stderr
    assert answer.stderr.startswith("TAMPERED  ledger.entry_altered: ")
    damage = json.loads(answer.stdout)
    assert damage["verified"] is False
    assert damage["log"] == "acgs.local/t/acme"
    assert isinstance(damage["leaf"], int)


def test_a_checkpoint_that_was_kept_shows_a_ledger_that_was_cut(
    bus: RunningBus, acgs: Acgs, *, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bus.ledger_dir, copy)
    acgs("decide", SEARCH)
    kept = tmp_path / "kept"
    _until(lambda: _size(bus.ledger_dir) > _size(copy))
    kept.write_bytes((bus.ledger_dir / "checkpoint").read_bytes())
    answer = acgs("ledger", "verify", str(copy), "--expect", str(kept))
    assert answer.returncode == Exit.TAMPERED
    assert "ledger.rolled_back" in answer.stderr


def test_a_proof_is_checked_offline_and_a_changed_one_is_not_believed(
    acgs: Acgs, denied: dict[str, Any], *, tmp_path: Path
) -> None:
    decision_id = denied["decision_id"]
    text = acgs("ledger", "proof", decision_id)
    assert text.stdout.startswith("c2sp.org/tlog-proof@v1\n"), text.stderr
    proof = tmp_path / "proof.json"
    proof.write_text(acgs("ledger", "proof", decision_id, "-o", "json").stdout)
    sound = acgs("ledger", "check", str(proof))
    assert sound.returncode == Exit.OK, sound.stderr
    assert sound.stdout.startswith(f"PROVED  decision {decision_id}\n")
    changed = json.loads(proof.read_text())
    changed["leaf_index"] += 1
    proof.write_text(json.dumps(changed))
    false = acgs("ledger", "check", str(proof))
    assert (false.returncode, false.stdout) == (Exit.TAMPERED, "")
    assert false.stderr.startswith("NOT PROVED  ")


def test_what_an_agent_said_is_erased_and_the_ledger_still_verifies(acgs: Acgs) -> None:
    acgs("send", SEARCH, "--from", "leaver")
    unasked = acgs("ledger", "erase", "leaver", "--reason", "it asked us to")
    assert unasked.returncode == Exit.USAGE
    assert "add --yes" in unasked.stderr
    erased = acgs("ledger", "erase", "leaver", "--reason", "it asked us to", "--yes")
    assert erased.returncode == Exit.OK, erased.stderr
    _until(lambda: "erasure" in acgs("ledger", "tail", "-o", "json").stdout)
    assert acgs("ledger", "verify").returncode == Exit.OK


def test_a_token_works_where_it_is_pasted(bus: RunningBus, acgs: Acgs) -> None:
    minted = acgs(
        *("token", "--tenant", "acme", "--sub", "planner", "--role", "agent"),
        *("--owner", "olga", "--ttl", "5m"),
    )
    assert minted.returncode == Exit.OK, minted.stderr
    claims = jwt.decode(minted.stdout.strip(), options={"verify_signature": False})
    assert (claims["sub"], claims["owner"]) == ("planner", "olga")
    elsewhere = {"ACGS_DATA_DIR": "/nowhere", "ACGS_URL": bus.url}
    answer = acgs("decide", SEARCH, ACGS_TOKEN=minted.stdout, **elsewhere)
    assert answer.returncode == Exit.OK, answer.stderr
    narrowed = acgs(
        *("token", "--tenant", "acme", "--sub", "planner", "--role", "agent"),
        *("--scope", "decisions:read"),
    )
    refused = acgs("decide", SEARCH, ACGS_TOKEN=narrowed.stdout, **elsewhere)
    assert refused.returncode == Exit.REFUSED
    assert refused.stderr.startswith("auth.scope_missing: ")


@pytest.mark.parametrize(
    ("words", "environment", "status", "sentence"),
    [
        (("decide", SEARCH), {"ACGS_HTTP_PORT": "1"}, Exit.UNAVAILABLE, "start it with `acgs run`"),
        (("decide", SEARCH), {"ACGS_TOKEN": "x"}, Exit.REFUSED, "auth.malformed"),
        (("decide", SEARCH), {"ACGS_URL": "bus:8000"}, Exit.USAGE, "must begin with http"),
        (("decide", SEARCH), {"ACGS_HTTP_PORT": "many"}, Exit.USAGE, "ACGS_HTTP_PORT"),
        (("decide", "{"), {}, Exit.USAGE, "not JSON"),
        (("decide", "[]"), {}, Exit.USAGE, "not an array"),
        (("send", "--file", "none.jsonl"), {}, Exit.USAGE, "does not exist"),
        (("send",), {}, Exit.USAGE, "one of the two"),
        (("send", "--to", "nobody", SEARCH), {}, Exit.REFUSED, "acgs agents register"),
        (("decide", SEARCH, "--priority", "urgent"), {}, Exit.USAGE, "critical"),
        (("tail", "-o", "json"), {}, Exit.USAGE, "jsonl"),
        (("reviews", "watch", "-o", "json"), {}, Exit.USAGE, "jsonl"),
        (("reviews", "approve", "x"), {}, Exit.USAGE, "--reason"),
        (("reviews", "show", "nothing"), {}, Exit.REFUSED, "review.not_found"),
        (("reviews", "claim", "../x"), {}, Exit.REFUSED, "request.not_found"),
        (("reviews", "list", "--as", "No Id"), {}, Exit.USAGE, "does not match"),
        (("reviews", "list", "--state", "open"), {}, Exit.USAGE, "pending"),
        (("ledger", "verify", "/nowhere"), {}, Exit.USAGE, "neither a folder"),
        (("ledger", "verify", "--key", "x+y+AQ=="), {}, Exit.USAGE, "not an Ed25519"),
        (("ledger", "key"), {"ACGS_DATA_DIR": "/nowhere"}, Exit.USAGE, "no ledger key"),
        (("ledger", "tail", "--tenant", "nobody"), {}, Exit.USAGE, "no log of nobody"),
        (("ledger", "proof", "nothing"), {}, Exit.REFUSED, "decision.not_found"),
    ],
)
def test_what_goes_wrong_is_a_sentence_on_stderr_and_an_exit_status(
    acgs: Acgs,
    words: tuple[str, ...],
    environment: dict[str, str],
    *,
    status: Exit,
    sentence: str,
) -> None:
    answer = acgs(*words, **environment)
    assert answer.returncode == status, answer.stderr
    assert sentence in " ".join(answer.stderr.replace("│", " ").split())
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr


def _size(folder: Path) -> int:
    return int((folder / "checkpoint").read_text().splitlines()[1])


def _until(is_so: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not come to be"
        time.sleep(0.2)
