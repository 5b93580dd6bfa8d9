"""Checks that users run too: golden cases, manifests, configs."""
