"""Typed options of every command: dataclasses and YAML presets. Never imports torch."""

__all__: list[str] = []
