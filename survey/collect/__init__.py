"""Answers of many files as one table: `job`, `formats`, `platforms` and `rows`."""
