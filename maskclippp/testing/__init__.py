"""Checks that users run too: golden cases, benchmarks against naive formulations."""
