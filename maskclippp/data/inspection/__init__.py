"""Looking at datasets on disk: what is there, whether it is whole, and what it looks like."""
