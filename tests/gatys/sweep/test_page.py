"""The page of a sweep."""

from pathlib import Path

from impasto.gatys.sweep.page import write_sweep_page
from impasto.gatys.sweep.plan import SweepPlan
from impasto.gatys.sweep.run import SweepResult


def test_what_it_advises_leaves_the_pictures_of_the_sweep(tmp_path: Path) -> None:
    plan = SweepPlan(name="none", title="none", axes={}, rows=[], columns=[])
    write_sweep_page(SweepResult(plan=plan, cells=[], results={}, folder=tmp_path, threads=3))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "OMP_NUM_THREADS=3 impasto stylize --config RECIPE --output again.png" in page
