"""Preparation of datasets from their official downloads, in miniature."""
