"""The manifest as written: its text, its places and this project's own keys. Knows nothing of models."""
