"""A run on disk: its directory, state and resume, log, observers, pages."""

__all__: list[str] = []
