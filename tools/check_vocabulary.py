#!/usr/bin/env python3
"""Check vocabularies: classes, names, things; duplicates, empty names, blanks, gaps in the ids; classes that the text
encoder cannot tell apart, by case or because a sentence is cut after 77 tokens.

A vocabulary is the name of a shipped one, a .tsv file in the same format, or any other text file as a plain class list
(a class on each line, synonyms separated by commas). With --against it is told which classes training with another
vocabulary has seen. The exit status is 1 if there is a problem.

Example:
    python tools/check_vocabulary.py my_classes.txt ade20k_150 --against coco_stuff_171
"""

from __future__ import annotations

import argparse
import sys
import textwrap

from maskclippp.data.vocabularies import spelling_notes
from maskclippp.data.vocabularies.check import check_vocabulary, compare_with, read_classes
from maskclippp.utils.errors import UserError


def main() -> None:
    """Read the command line, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocabularies", nargs="+", metavar="FILE|NAME")
    parser.add_argument("--against", metavar="FILE|NAME", help="the vocabulary of the training set")
    parser.add_argument("--classes", type=int, metavar="K", help="how many classes there must be")
    args = parser.parse_args()
    try:
        trained = read_classes(args.against) if args.against else None
    except UserError as error:
        sys.exit(f"error: {error}")
    failed = False
    for name in args.vocabularies:
        report = check_vocabulary(name, args.classes)
        print(*report.lines(), sep="\n")
        failed |= bool(report.problems)
        if trained is None or report.vocabulary is None:
            continue
        for kind, classes in zip(("seen", "unseen"), compare_with(report.vocabulary, trained), strict=True):
            print(f"  {kind} against {args.against}: {len(classes)}")
            if classes:
                print(textwrap.fill(", ".join(classes), 118, initial_indent="    ", subsequent_indent="    "))
        for note in spelling_notes(report.vocabulary.class_entries, trained.class_entries):
            print(f"  note: {note}")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
