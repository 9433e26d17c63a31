"""Losses that compare all translations together with all paintings together."""
