"""From the official downloads to the files that registration reads; ``datasets/prepare_*.py`` are the doors.

One module per family. Every preparation looks at its inputs before it writes, skips what is finished, writes each file
whole or not at all, goes on past broken files and tells of them at the end, and reads back what it has made.
"""
