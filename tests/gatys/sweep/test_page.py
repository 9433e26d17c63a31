"""The page of a sweep."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from impasto.data import Picture, write_picture
from impasto.gatys.sweep.cells import CellFiles, CellResult
from impasto.gatys.sweep.page import write_sweep_page
from impasto.gatys.sweep.plan import SweepCell, SweepPlan
from impasto.gatys.sweep.run import SweepResult
from impasto.options.stylize import StylizeOptions


def test_what_it_advises_leaves_the_pictures_of_the_sweep(tmp_path: Path) -> None:
    plan = SweepPlan(name="none", title="none", axes={}, rows=[], columns=[])
    write_sweep_page(SweepResult(plan=plan, cells=[], results={}, folder=tmp_path, threads=3))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "OMP_NUM_THREADS=3 impasto stylize --config RECIPE --output again.png" in page


def test_a_stopped_sweep_says_how_long_a_cell_takes_and_the_rest_will(tmp_path: Path) -> None:
    plan = SweepPlan(name="seeds", title="seeds", axes={"seed": {}}, rows=[], columns=["seed"])
    options = StylizeOptions(content=Path("c.png"), styles=(Path("s.png"),))
    cells = [
        SweepCell(number=number, labels={"seed": str(number)}, options=options)
        for number in range(1, 11)
    ]
    files = CellFiles(tmp_path / "cells" / cells[0].folder)
    files.folder.mkdir(parents=True)
    write_picture(files.picture, Picture(rgb=np.zeros((8, 8, 3), np.uint8)))
    files.losses.write_text(
        "scale,step,evaluations,content,total,seconds\n1,1,1,2.0,2.0,0.1\n", encoding="utf-8"
    )
    losses = {"total": 2.0, "style": 1.0, "content": 1.0}
    done = CellResult(key="", labels={}, losses=losses, seconds=12.3, wall_seconds=30.5)
    results = {1: done, 2: replace(done, error="odd")}
    write_sweep_page(SweepResult(plan=plan, cells=cells, results=results, folder=tmp_path, jobs=2))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    # Nine cells, two at a time: five times 30.5 s.
    assert "1 of 10 cells are done, 1 failed. A cell takes 30 s on average, 12 s of it" in page
    assert "The 9 that are left will take about 3 min; the same command does them." in page
    assert "<td>30.5</td>" in page
    assert "<td>12.3</td>" in page
