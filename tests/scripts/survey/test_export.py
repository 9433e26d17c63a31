"""`impasto survey export`, `audit` and `import` as a user calls them."""

import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.scripts.main import main
from impasto.survey.answers import read_answers


def survey(*words: object) -> int:
    try:
        return main(["survey", *map(str, words)])
    except SystemExit as ended:
        return int(str(ended.code))


@pytest.fixture
def folder(
    tmp_path: Path, picture_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    picture_folder("photos", count=10, seed=1)
    picture_folder("translated", count=10, seed=2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


SMALL = ("--per_class", 3, "--practice", 2, "--width", 32, "--height", 32, "--orders", 5)


def make(*more: object) -> int:
    where = ("--real", "photos", "--fake", "cyclegan=translated", "--output", "study")
    return survey("export", *where, *SMALL, *more)


@pytest.mark.usefixtures("folder")
def test_export_says_what_it_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    assert make() == 0
    assert capsys.readouterr().out.splitlines() == [
        "6 pictures to judge, 2 attention checks, 2 for practice; 5 orders; audit: passed",
        "public:  study (open index.html), study.zip",
        "private: study.key.json",
        "next: impasto survey serve study --key study.key.json --database answers.sqlite",
    ]


def test_options_from_a_file_and_a_key_elsewhere(folder: Path) -> None:
    config = folder / "study.yaml"
    config.write_text(
        "real: photos\nfake: [cyclegan=translated]\noutput: deep/er/study\nper_class: 2\n"
        "practice: 0\nwidth: 32\nheight: 32\norders: 3\nprotocol: pair\n",
        encoding="utf-8",
    )
    assert survey("export", "--config", config, "--key", "keys/mine.json") == 0
    assert (folder / "deep" / "er" / "study" / "index.html").is_file()
    assert (folder / "keys" / "mine.json").is_file()
    assert not list(folder.rglob("*.tmp"))


def test_damaged_pictures_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted((folder / "photos").iterdir())[:3]:
        path.write_bytes(b"broken")
    assert make("--seed", 1) == 0
    errors = capsys.readouterr().err
    assert "skipped: photos/" in errors


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--per_class", 99), 1, "too few real pictures"),
        (("--fake", "cyclegan"), 2, "expected NAME=FOLDER"),
        (("--protocol", "pairs"), 2, "did you mean pair?"),
        (("--key", "study/key.json"), 2, "participants see"),
        (("--equalize", "jpg"), 2, "expected none, or jpeg:1 to jpeg:100"),
        (("--real", "photo"), 1, "did you mean"),
        (("--texts", "no.yaml"), 1, "no.yaml"),
        (("--per_clas", 3), 2, "did you mean --per_class?"),
    ],
)
def test_mistakes_are_one_message(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    status: int,
    message: str,
) -> None:
    assert make(*words) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in folder.iterdir()) == ["photos", "translated"]


@pytest.mark.usefixtures("folder")
def test_nothing_is_exported_over_an_older_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert make() == 0
    before = Path("study.key.json").read_bytes()
    assert make() == 1
    assert "an export replaces nothing" in capsys.readouterr().err
    assert Path("study.key.json").read_bytes() == before


@pytest.mark.usefixtures("folder")
def test_audit_prints_a_table_and_writes_its_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert make() == 0
    capsys.readouterr()
    assert survey("audit", "study", "--output", "findings/audit.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["observable", "AUC", "p"]
    assert any(line.startswith("ok") and "file length" in line for line in lines)
    assert lines[-3] == "passed: 0 leaks, 0 faults in 8 pictures"
    assert lines[-2].startswith("note: with so few pictures, no p-value can be below 0.3")
    found = json.loads(Path("findings/audit.json").read_text(encoding="utf-8"))
    assert found["passed"] is True
    assert {"status", "name", "auc", "p", "detail"} == set(found["rows"][0])


@pytest.fixture
def clipped(folder: Path) -> Path:
    """Photographs as JPEG that reach 0 and 255, and fakes as PNG that never do."""
    rng = np.random.default_rng(5)
    for name, low, high, suffix in (("photos", -40, 300, "jpg"), ("translated", 30, 220, "png")):
        shutil.rmtree(folder / name)
        (folder / name).mkdir()
        for number in range(10):
            field = rng.uniform(low, high, (4, 4, 3)).clip(0, 255).astype(np.uint8)
            picture = Image.fromarray(field).resize((64, 64), Image.Resampling.NEAREST)
            picture.save(folder / name / f"{name[0]}{number}.{suffix}")
    return folder


@pytest.mark.usefixtures("clipped")
@pytest.mark.parametrize("equalize", ["none", "jpeg:90"])
def test_warnings_are_counted_and_advise_nothing_that_is_done(
    equalize: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make("--per_class", 8, "--equalize", equalize) == 0
    printed = capsys.readouterr()
    warned = printed.err.count("warning: ")
    verdict = f"passed with {warned} warning{'s' * (warned != 1)}"
    assert f"; audit: {verdict}\n" in printed.out
    assert "pixels: clipped values: fakes have less" in printed.err
    assert "leave out pictures with large black or white areas (--exclude)" in printed.err
    assert ("--equalize jpeg:90" in printed.err) == (equalize == "none")
    assert survey("audit", "study") == 0
    assert f"\n{verdict}: 0 leaks, 0 faults in 18 pictures\n" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("action", ["audit", "serve"])
def test_a_missing_folder_is_named_before_its_key(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make() == 0
    capsys.readouterr()
    more = ("--key", "study.key.json", "--database", "a.sqlite") if action == "serve" else ()
    assert survey(action, "studdy", *more) != 0
    assert "error: studdy: no such folder; did you mean study?" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_audit_fails_with_1_on_a_leak(capsys: pytest.CaptureFixture[str]) -> None:
    assert make() == 0
    page = Path("study/index.html")
    page.write_text(page.read_text(encoding="utf-8") + "<!-- CycleGAN -->", encoding="utf-8")
    capsys.readouterr()
    assert survey("audit", "study") == 1
    out = capsys.readouterr().out
    assert out.splitlines()[1].startswith("LEAK")
    assert "name of a generator" in out
    assert (
        "FAILED: 1 leak, 2 faults, 0 warnings" in out
    )  # it is another page than in the key and the archive


def forge(key: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a key and its checksum, as one who knows how it is made."""
    stored = json.loads(key.read_text(encoding="utf-8"))
    del stored["sha256"]
    change(stored)
    text = json.dumps(stored, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    stored["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    key.write_text(json.dumps(stored), encoding="utf-8")


def first(stored: dict[str, Any]) -> dict[str, Any]:
    one: dict[str, Any] = next(iter(stored["pictures"].values()))
    return one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored["pictures"].update({"../../x": first(stored)}), "is no token"),
        (lambda stored: first(stored).update(label="maybe"), "which is nothing"),
        (lambda stored: first(stored).update(source=["x"]), "expected texts"),
        (lambda stored: first(stored).update(generator="gan", label="real"), "has a generator"),
        (lambda stored: stored.update(options=[1]), "is no key"),
        (lambda stored: stored["options"].update(words=3), "is no key"),
        (lambda stored: stored["orders"].append([["zz"]]), "unknown picture"),
        (lambda stored: stored.update(survey_id="other"), "the key is of other"),
        (lambda stored: stored.pop("pictures"), "is no key"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_forged_key_is_refused(
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], None],
    message: str,
) -> None:
    assert make() == 0
    forge(Path("study.key.json"), change)
    capsys.readouterr()
    assert survey("audit", "study") == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors


@pytest.mark.usefixtures("folder")
def test_a_changed_key_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert make() == 0
    key = Path("study.key.json")
    key.write_text(key.read_text(encoding="utf-8").replace('"real"', '"fake"', 1), encoding="utf-8")
    for words in (("audit", "study"), ("import", "study.zip", "--key", key)):
        capsys.readouterr()
        assert survey(*words) == 1
        assert "was changed since it was written" in capsys.readouterr().err


def answers(tokens: list[str], name: str = "in.csv") -> Path:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["participant", *tokens], ["ann", *["Real"] * len(tokens)]])
    Path(name).write_text(text.getvalue(), encoding="utf-8")
    return Path(name)


@pytest.mark.usefixtures("folder")
def test_import_reports_and_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert make() == 0
    pictures = json.loads(Path("study.key.json").read_text(encoding="utf-8"))["pictures"]
    tokens = list(pictures)
    file = answers([*tokens[:-1], "zzzzzzzz"])
    capsys.readouterr()
    words = ("--key", "study.key.json", "--output", "out/a.csv", "--participants", "out/p.csv")
    assert survey("import", file, *words) == 0
    judged = sum(one["kind"] != "practice" for one in pictures.values())
    assert capsys.readouterr().out.splitlines() == [
        f"in.csv: wide, {len(tokens)} answers",
        "note: unknown pictures: 1 (zzzzzzzz)",
        f"note: partial sessions: 1 (ann: {judged - 1} of {judged})",
        f"wrote out/a.csv: {judged - 1} answers and 2 of practice, of 1 participants",
        "wrote out/p.csv",
        "next: impasto survey report out/a.csv --key study.key.json",
    ]
    assert len(read_answers(Path("out/a.csv"))) == len(tokens) - 1
    assert Path("out/p.csv").read_text(encoding="utf-8").splitlines() == [
        "participant,answers,completed",
        f"ann,{judged - 1},0",
    ]


@pytest.mark.usefixtures("folder")
def test_import_replaces_nothing_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    file = answers(["bk3f9x2q", "cm4g8w3r"])
    Path("answers.csv").write_text("precious", encoding="utf-8")
    assert survey("import", file) == 2
    assert "--overwrite true" in capsys.readouterr().err
    assert survey("import", file, "--output", file, "--overwrite", "true") == 2
    assert "is also an input" in capsys.readouterr().err
    assert Path("answers.csv").read_text(encoding="utf-8") == "precious"
    assert survey("import", file, "--overwrite", "true") == 0
    assert len(read_answers(Path("answers.csv"))) == 2


@pytest.mark.parametrize("action", ["export", "audit", "import"])
def test_no_action_imports_torch(folder: Path, action: str) -> None:
    words: dict[str, list[object]] = {
        "export": ["--real", "photos", "--fake", "gan=translated", "--output", "new", *SMALL],
        "audit": ["study"],
        "import": [answers(["bk3f9x2q"])],
    }
    if action == "audit":
        assert make() == 0
    code = (
        "import sys; from impasto.scripts.main import main; "
        "status = main(sys.argv[1:]); sys.exit(status or 3 * ('torch' in sys.modules))"
    )
    command = [sys.executable, "-c", code, "survey", action, *map(str, words[action])]
    assert subprocess.run(command, check=False, cwd=folder).returncode == 0
