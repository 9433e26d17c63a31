"""Results of an audit, as rows, as a text table, and for JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Audit", "Row", "Status", "counted"]

Status = Literal["leak", "fault", "warning", "ok"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of an audit report.

    Attributes:
        status: ``leak``: it distinguishes real from fake; ``fault``: the study is not as it was
            exported; ``warning``: worth knowing; ``ok``: nothing found.
        name: name of what was examined.
        auc: area under the ROC curve for the label fake, in [0, 1], or None if not computed.
        p: p-value adjusted for all tests of the audit, or None if not tested.
        detail: explanation in words.
    """

    status: Status
    name: str
    auc: float | None = None
    p: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Results of an audit.

    Attributes:
        rows: rows in the order in which they were examined.
        pictures: number of pictures that were compared.
        smallest_p: smallest p-value that is possible with this number of pictures; if it is above
            ``alpha``, only observables that are identical in all pictures of an export can be
            judged.
        alpha: probability that a study without a leak fails.
    """

    rows: Sequence[Row]
    pictures: int
    smallest_p: float
    alpha: float

    @property
    def passed(self) -> bool:
        """True if there is neither a leak nor a fault."""
        return not any(row.status in ("leak", "fault") for row in self.rows)

    @property
    def verdict(self) -> str:
        """``FAILED``, ``passed``, or ``passed with 2 warnings``."""
        if not self.passed:
            return "FAILED"
        warnings = len(self.of("warning"))
        return "passed" + f" with {counted(warnings, 'warning')}" * bool(warnings)

    def of(self, *statuses: Status) -> list[Row]:
        """Return the rows with one of the given statuses."""
        return [row for row in self.rows if row.status in statuses]

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as a dictionary for JSON."""
        return {"passed": self.passed, **asdict(self)}

    def table(self) -> str:
        """Return the audit as a text table, most severe rows first."""
        order = {"leak": 0, "fault": 1, "warning": 2, "ok": 3}
        ordered = sorted(self.rows, key=lambda row: order[row.status])
        lines = [("", "observable", "AUC", "p", ""), *map(_cells, ordered)]
        widths = [max(len(line[place]) for line in lines) for place in range(4)]
        return "\n".join(
            f"{line[0]:<{widths[0]}}  {line[1]:<{widths[1]}}  {line[2]:>{widths[2]}}  "
            f"{line[3]:>{widths[3]}}  {line[4]}".rstrip()
            for line in lines
        )


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 leak``, ``2 leaks``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    return (
        row.status.upper() if row.status in ("leak", "fault") else row.status,
        row.name,
        "" if row.auc is None else f"{row.auc:.2f}",
        "" if row.p is None else f"{row.p:.4f}",
        " ".join(row.detail.split()),
    )
