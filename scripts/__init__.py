"""One thin module for each sub-command of `giverny`: parse, build, call, report."""

__all__: list[str] = []
