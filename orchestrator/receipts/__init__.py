"""Receipts of accepted submissions, kept outside Postgres: what a database that was put back can be held against."""
