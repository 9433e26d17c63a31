"""Tables as spreadsheets save them."""

from pathlib import Path

from impasto.survey.tables import read_table


def test_repeated_columns_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,a,b\n1,2,3\n", encoding="utf-8")
    assert read_table(path).header == ("a", "a (2)", "b")
