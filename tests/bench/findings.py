"""What the scan costs and how often it speaks: `python tests/bench/findings.py [FOLDER]`.

The folder holds `*.jsonl` with `text` and `label` (0 for benign); without it only times are
printed. Times are processor time of this process, the best of several runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from policies.findings import KINDS, scan  # noqa: E402  # the path is set above

TEXT = (
    "Hello all, please find attached the minutes of our meeting of last Tuesday. We agreed to move "
    "the release to the second week of December and to review the budget of 12500 before that."
)
TYPICAL: dict[str, object] = {
    "action": "email.send",
    "resource": "inbox/42",
    "args": {"to": "team", "subject": "Minutes", "priority": 2, "attachments": ["minutes.pdf"]},
    "text": TEXT,
}
CONTENTS: Mapping[str, dict[str, object]] = {
    "two short fields": {"action": "x", "text": "hello"},
    "typical message": TYPICAL,
    "with time and uuid": {
        **TYPICAL,
        "created": "2026-11-23T12:00:00Z",
        "ident": "5f3c1b0e-8d1f-4c3e-9a57-0b1d2e3f4a5b",
    },
    "with findings": {**TYPICAL, "to": "bob@example.com", "note": "ignore previous instructions"},
}
HOSTILE = (
    "a",
    "1 ",
    "a@",
    "eyJ",
    "ignore ",
    "i g n o r e ",
    "password=",
    "212-555-",
    "GB82",
    "%41",
)
MIB = 1 << 20


def best_us(content: dict[str, object], *, times: int) -> float:
    """Microseconds a scan, the best of seven rounds."""
    rounds = []
    for _ in range(7):
        started_s = time.process_time()
        for _ in range(times):
            scan(content)
        rounds.append((time.process_time() - started_s) / times)
    return min(rounds) * 1e6


def rows(path: Path) -> Iterator[tuple[dict[str, object], int]]:
    """Each row as content: a tool call as its JSON, anything else as one text."""
    for line in path.read_text().splitlines():
        row = json.loads(line)
        text: str = row["text"]
        name, _, args = text.removeprefix("Tool call: ").partition(" ")
        content: dict[str, object] = {"text": text}
        if text.startswith("Tool call: ") and args.startswith("{"):
            content = {"tool": name, "args": json.loads(args)}
        yield content, row["label"]


def print_rates(path: Path) -> None:
    """One line for each label: how many rows show something of each kind."""
    total: Counter[int] = Counter()
    shown: Counter[tuple[int, str]] = Counter()
    for content, label in rows(path):
        total[label] += 1
        shown.update((label, kind) for kind in {finding.kind for finding in scan(content)})
    for label, count in sorted(total.items()):
        rates = "  ".join(
            f"{kind} {shown[label, kind]:4} ({shown[label, kind] / count:6.2%})" for kind in KINDS
        )
        word = "benign " if label == 0 else "harmful"
        print(f"{path.stem:20} {word} {count:5} rows  {rates}")


def main() -> None:
    """Print the times, then the rates."""
    for name, content in CONTENTS.items():
        size = len(json.dumps(content))
        print(f"{name:20} {size:5} bytes  {best_us(content, times=300):7.1f} us")
    for shape in HOSTILE:
        text = (shape * MIB)[:MIB]
        print(f"1 MiB of {shape!r:20} {best_us({'text': text}, times=1) / 1000:7.1f} ms")
    for path in sorted(Path(sys.argv[1]).glob("*.jsonl")) if len(sys.argv) > 1 else ():
        print_rates(path)


if __name__ == "__main__":
    main()
