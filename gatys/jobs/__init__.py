"""Whole jobs, options in and a picture out: `stylize`."""
