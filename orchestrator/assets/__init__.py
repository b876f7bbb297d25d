"""Stored results and input media: fetched, verified, named and kept. Pure I/O, no database."""
