"""What an audit found, as rows, as a table of text, and for JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Audit", "Row", "Status"]

Status = Literal["leak", "fault", "warning", "ok"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the report.

    Attributes:
        status: ``leak``: it tells real from fake; ``fault``: the study is not as it was exported;
            ``warning``: worth knowing; ``ok``.
        name: what was looked at.
        auc: area under the curve against the label, or None.
        p: adjusted for all that was looked at, or None.
        detail: in words.
    """

    status: Status
    name: str
    auc: float | None = None
    p: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found.

    Attributes:
        rows: in the order in which they were looked at.
        pictures: how many were compared.
        smallest_p: that so few pictures can give; where it is above ``alpha``, only what is the
            same for all pictures of an export can be judged.
        alpha: chance that a study without a leak fails.
    """

    rows: Sequence[Row]
    pictures: int
    smallest_p: float
    alpha: float

    @property
    def passed(self) -> bool:
        """Whether there is neither a leak nor a fault."""
        return not any(row.status in ("leak", "fault") for row in self.rows)

    def of(self, *statuses: Status) -> list[Row]:
        """Return the rows of some statuses."""
        return [row for row in self.rows if row.status in statuses]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"passed": self.passed, **asdict(self)}

    def table(self) -> str:
        """Return it as lines of text, what matters first."""
        order = {"leak": 0, "fault": 1, "warning": 2, "ok": 3}
        ordered = sorted(self.rows, key=lambda row: order[row.status])
        lines = [("", "observable", "AUC", "p", ""), *map(_cells, ordered)]
        widths = [max(len(line[place]) for line in lines) for place in range(4)]
        return "\n".join(
            f"{line[0]:<{widths[0]}}  {line[1]:<{widths[1]}}  {line[2]:>{widths[2]}}  "
            f"{line[3]:>{widths[3]}}  {line[4]}".rstrip()
            for line in lines
        )


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    return (
        row.status.upper() if row.status in ("leak", "fault") else row.status,
        row.name,
        "" if row.auc is None else f"{row.auc:.2f}",
        "" if row.p is None else f"{row.p:.4f}",
        " ".join(row.detail.split()),
    )
