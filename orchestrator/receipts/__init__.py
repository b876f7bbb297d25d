"""Receipts of what was sent and accepted, kept outside Postgres: what a database that was put back is held against."""
