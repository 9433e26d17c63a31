"""Translating with a trained generator: `translator` (any size), `memory` (what that takes)."""
