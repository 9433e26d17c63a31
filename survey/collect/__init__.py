"""Answers of many files as one table: `job`, `formats` and `rows`."""
