"""Postgres, which holds the truth: tables, claims of due work, guarded transitions and reads."""
