"""Whole jobs: `stylize`, options in and a picture out; `stylize_files`, with all its files."""
