"""Looks at every report for the known ways in which trainings fail."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Doctor"]


class Doctor:
    """Finds nothing; a method's own doctor overrides both.

    A finding is a plain sentence or two: what is wrong, since when, and what to try.
    """

    def restore(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take up the records of the part of the run that is already done, the oldest first."""

    def examine(self, record: Mapping[str, Any]) -> list[str]:  # noqa: ARG002
        """Return what is wrong at this report.

        Args:
            record: what :meth:`Observer.on_report` is told, with ``epoch``, ``images``, ``steps``.
        """
        return []
