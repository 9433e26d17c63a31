"""One thin module for each sub-command of `impasto`: parse, build, call, report."""

__all__: list[str] = []
