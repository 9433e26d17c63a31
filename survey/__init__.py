"""The human real-or-fake study: export, audit, serve, import, report. Never imports torch."""

__all__: list[str] = []
