"""What came of all inputs: counts, findings with what is needed to see them again, memory and time."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

from .case import GOOD
from .workers import Result

VERDICTS = (*GOOD, "traceback", "message", "code run", "crash", "hang")
SHOWN = 20


@dataclass
class Report:
    """Counts up results.

    Attributes:
        seed: of all inputs.
        keep: folder for the files of findings.
        counts: by (kind, verdict).
        findings: what is wrong, one dict each.
        peak_bytes: largest memory of a worker.
        slowest: seconds of the slowest input, and which it was.
    """

    seed: int
    keep: Path
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[dict[str, str | int]] = field(default_factory=list)
    peak_bytes: int = 0
    slowest: tuple[float, str] = (0.0, "")

    def add(self, result: Result) -> None:
        """Count a result; keep the files of a finding."""
        self.counts[result.kind, result.outcome.verdict] += 1
        self.peak_bytes = max(self.peak_bytes, result.peak_bytes)
        self.slowest = max(self.slowest, (result.seconds, f"{result.kind} {result.index}"))
        if result.outcome.verdict in GOOD:
            return
        kept = self.keep / f"{result.kind}-{self.seed}-{result.index}"
        shutil.rmtree(kept, ignore_errors=True)
        if result.folder.is_dir():
            shutil.copytree(result.folder, kept, symlinks=True, ignore=_no_pipes)
        self.findings.append(
            {
                "kind": result.kind,
                "seed": self.seed,
                "index": result.index,
                "verdict": result.outcome.verdict,
                "text": result.outcome.text,
                "files": str(kept),
            }
        )

    def lines(self) -> list[str]:
        """A table by kind and verdict, then the findings."""
        kinds = sorted({kind for kind, _ in self.counts})
        rows = [[kind, *(self.counts[kind, verdict] for verdict in VERDICTS)] for kind in kinds]
        rows.append(["all", *(sum(row[place] for row in rows) for place in range(1, len(VERDICTS) + 1))])
        table = tabulate(rows, headers=["", *VERDICTS], tablefmt="pipe")
        told = [
            f"{each['verdict']}: {each['kind']} {each['index']} ({each['files']}): {_short(str(each['text']))}"
            for each in self.findings[:SHOWN]
        ]
        more = [f"and {len(self.findings) - SHOWN} findings more"] if len(self.findings) > SHOWN else []
        return [table, self.summary(), *told, *more]

    def summary(self) -> str:
        """One line."""
        return (
            f"{sum(self.counts.values())} inputs, seed {self.seed}: {len(self.findings)} findings; "
            f"memory of a worker at most {self.peak_bytes / 1e6:.0f} MB; "
            f"slowest input {self.slowest[0]:.1f} s ({self.slowest[1]})"
        )

    def write(self, path: Path) -> None:
        """Write all of it as JSON."""
        content = {
            "seed": self.seed,
            "counts": [[*key, count] for key, count in sorted(self.counts.items())],
            "peak_bytes": self.peak_bytes,
            "slowest": list(self.slowest),
            "findings": self.findings,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _short(text: str) -> str:
    """A message, or of a traceback the last line and the last place in the package."""
    lines = text.strip().splitlines() or [""]
    places = [line.strip() for line in lines if "maskclippp" in line and line.strip().startswith("File ")]
    return text if not places else f"{lines[-1]} ({places[-1]})"


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    """What copying would wait for, or what would fill the disk."""
    return [name for name in names if not _can_be_kept(Path(folder, name))]


def _can_be_kept(path: Path) -> bool:
    return path.is_symlink() or path.is_dir() or (path.is_file() and path.stat().st_size < 1 << 30)
