"""Damaged and hostile inputs, seeded, for every public reader of files: each must be read or be refused in one line."""
