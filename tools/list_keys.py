#!/usr/bin/env python3
"""Print the table of config keys as Markdown: default, what a value may be, whether anything reads it, meaning.

With PATTERN only the keys that match: a part of the name, or a name with * and ?, in any letter case.

Example:
    python tools/list_keys.py                        # all
    python tools/list_keys.py TEST                   # every key that has TEST in its name
    python tools/list_keys.py 'SOLVER.*_MULTIPLIER'
    python tools/list_keys.py --status ignored
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase

from maskclippp.config import TABLE, Key

STATUSES = ("read", "ignored", "fixed")


def main() -> None:
    """Read the command line, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="*", help="which keys; all by default")
    parser.add_argument("--status", choices=STATUSES, help="keys of this status only")
    args = parser.parse_args()
    keys = [key for key in TABLE.values() if matches(key.name, args.pattern) and args.status in (None, key.status)]
    if not keys:
        sys.exit(f"error: no config key matches '{args.pattern}'{f' with status {args.status}' if args.status else ''}")
    print(markdown(keys), end="")


def matches(name: str, pattern: str) -> bool:
    """Tell whether a key belongs to a pattern."""
    name, pattern = name.upper(), pattern.upper()
    return fnmatchcase(name, pattern) if set(pattern) & set("*?[") else pattern in name


def markdown(keys: Sequence[Key]) -> str:
    """Return a table for each node of the config, and a line with the counts."""
    counts = ", ".join(f"{sum(key.status == status for key in keys)} {status}" for status in STATUSES)
    parts = [f"{len(keys)} keys: {counts}.\n"]
    for node in dict.fromkeys(_node(key) for key in keys):
        parts.append(f"\n## {node or 'Top'}\n\n| key | default | values | status | meaning |\n|---|---|---|---|---|\n")
        parts += [_row(key) for key in keys if _node(key) == node]
    return "".join(parts)


def _node(key: Key) -> str:
    return key.name.rpartition(".")[0]


def _row(key: Key) -> str:
    cells = (f"`{key.name}`", f"`{key.default!r}`", key.values or "any", key.status, key.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    main()
