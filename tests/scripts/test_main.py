import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from impasto.data.files import list_pictures
from impasto.options import FolderError, OptionError
from impasto.runs.signals import Stopped
from impasto.scripts.main import COMMANDS, main

WITH_ACTIONS = [name for name, command in COMMANDS.items() if command.actions]
# Every command that does something, as the words that call it.
LEAVES = [
    *([name] for name, command in COMMANDS.items() if not command.actions),
    *([name, action] for name in WITH_ACTIONS for action in COMMANDS[name].actions),
]


def test_help_lists_all_commands_under_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    listed = [
        line.split()[0] for line in printed.split("examples:")[0].splitlines() if "  " in line
    ]
    assert listed == list(COMMANDS)
    assert all(f"\n{command.group}:\n" in printed for command in COMMANDS.values())
    assert max(map(len, printed.splitlines())) <= 80
    assert main([]) == 2


@pytest.mark.parametrize("command", WITH_ACTIONS)
def test_a_command_with_actions_lists_them(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"usage: impasto {command} ACTION [options]" in printed
    assert all(f"\n  {name} " in printed for name in COMMANDS[command].actions)
    assert f"examples:\n  impasto {command} " in printed
    assert main([command]) == 2
    assert capsys.readouterr().out == printed


def test_examples_in_the_help_name_commands_that_there_are() -> None:
    examples = [line for command in COMMANDS.values() for line in command.examples]
    assert examples
    for example in examples:
        words = example.split()
        leads_to = COMMANDS[words[1]]
        assert words[0] == "impasto"
        assert not leads_to.actions or words[2] in leads_to.actions


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("impasto 0.")


def test_unknown_command_shows_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    said = capsys.readouterr().err
    assert "impasto: error: unknown command 'trian'; did you mean train?" in said
    assert "Try 'impasto --help'." in said
    assert main(["test"]) == 2  # the reference's test.py
    assert "unknown command 'test'; did you mean translate?" in capsys.readouterr().err


def test_unknown_action_shows_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["survey", "exprt"]) == 2
    said = capsys.readouterr().err
    assert "impasto survey: error: unknown action 'exprt'; did you mean export" in said
    assert "Try 'impasto survey --help'." in said


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_has_help_with_examples(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert f"usage: impasto {' '.join(words)} " in printed
    assert f"examples:\n  impasto {' '.join(words)}" in printed


def test_no_help_imports_torch() -> None:
    code = (
        "import sys\nfrom impasto.scripts.main import main\n"
        f"for words in {[[], *LEAVES]}:\n"
        "    try: main([*words, '--help'])\n    except SystemExit: pass\n"
        "    if 'torch' in sys.modules: sys.exit(str(words))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


# Words that name what is not there, and what each command says about it.
WRONG = {
    "translate nope --output x": "nope: no such file or folder",
    "translate here.png --model nope --output x": "nope: no such run folder or weights file",
    "models nope": "nope: no such folder",
    "train": "give the two folders of pictures with --folder_A and --folder_B",
    "train --folder_A nope --folder_B nope": "nope: no such folder",
    "train --name taken --dataroot nope": "checkpoints/taken: holds a training already",
    "train --name none --resume": "checkpoints/none: no such run in checkpoints",
    "plot nope --output x.png": "nope: no such run",
    "evaluate nope --real nope": "nope: no such folder",
    "evaluate nope --real .": "nope: no such folder of results",
    "stylize nope here.png --output x.png": "nope: no such file or folder",
    "stylize here.png nope --output x.png": "nope: no such file or folder",
    "stylize here.png here.png --masks nope=here.png --output x.png": "nope: no such file",
    "sweep style_weight --contents nope --styles here.png --output x": "nope: no such file",
    "sweep nope --output x": "SWEEP: nope is neither a file nor a sweep",
    "weights check nope": "nope: no such file",
    "backbone train --dataroot nope": "nope: no such folder",
    "survey export --real nope --fake a=nope --output study": "nope: no such folder",
    "survey audit nope": "nope: no such folder",
    "survey serve nope --key nope --database x": "nope: no such folder",
    "survey import nope --output x.csv": "nope: no such file",
    "survey report nope --key nope": "nope: no such file",
    "survey power --pilot nope": "nope: no such file",
}


def test_what_is_not_there_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "here.png")
    (tmp_path / "checkpoints" / "taken").mkdir(parents=True)
    (tmp_path / "checkpoints" / "taken" / "state.pt").touch()
    code = (
        "import contextlib, io, json, sys\n"
        "class NoTorch:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'torch': raise RuntimeError('torch is imported')\n"
        "sys.meta_path.insert(0, NoTorch)\n"
        "from impasto.scripts.main import main\nsaid = {}\n"
        f"for words in {list(WRONG)}:\n"
        "    with contextlib.redirect_stderr(io.StringIO()) as errors:\n"
        "        try: status = main(words.split())\n"
        "        except SystemExit as ended: status = ended.code\n"
        "        except RuntimeError as error: status = str(error)\n"
        "    said[words] = [status, errors.getvalue()]\n"
        "print(json.dumps(said))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=tmp_path
    )
    for words, (status, printed) in json.loads(done.stdout).items():
        assert status in {1, 2}, words
        assert WRONG[words] in printed, words
        assert re.search("^impasto [a-z ]+: error: ", printed, re.MULTILINE), words
        assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (FolderError(Path("photos"), "no such folder"), 1, "photos: no such folder"),
        (OptionError("lr", "-1 is not above 0"), 2, "--lr: -1 is not above 0"),
        (OSError(28, "No space left", "a/b"), 1, "a/b: No space left"),
        (KeyboardInterrupt(), 130, "stopped"),
        (Stopped(signal.SIGTERM), 143, "stopped"),
    ],
)
def test_mistakes_become_one_message(
    error: BaseException,
    status: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Broken:
        @staticmethod
        def main(_argv: object) -> int:
            raise error

    monkeypatch.setattr("importlib.import_module", lambda _name: Broken)
    for words in (["train"], ["survey", "export"]):
        assert main(words) == status
        called = f"impasto {' '.join(words)}: {'' if status > 128 else 'error: '}"
        assert capsys.readouterr().err == f"{called}{says}\n"


def test_a_reader_that_stops_listening_is_no_error() -> None:
    # `impasto --help | head -1`: the pipe is closed before the text is out.
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", "from impasto.scripts.main import main; main(['--help'])"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("status", "buffered"), [(0, True), (1, True), (0, False)])
def test_a_command_goes_on_where_nobody_reads_what_it_says(
    status: int, buffered: bool, tmp_path: Path
) -> None:
    # `impasto translate photos --output monets 2>&1 | head -1`
    code = f"""
import importlib, sys
from pathlib import Path
from impasto.scripts.main import main
class Command:
    @staticmethod
    def main(_argv):
        for number in range(9):
            print("an answer", number, flush=True)
            print("a message", number, file=sys.stderr)
        Path("made").touch()
        return {status}
importlib.import_module = lambda _name: Command
sys.exit(main(["translate"]))
"""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, *([] if buffered else ["-u"]), "-c", code],
        stdout=write,
        stderr=write,
        cwd=tmp_path,
        check=False,
    )
    os.close(write)
    assert done.returncode == status
    assert (tmp_path / "made").is_file()


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_every_command_ends_on_signals_by_their_status(
    words: list[str],
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Slow:
        @staticmethod
        def main(_argv: object) -> int:
            os.kill(os.getpid(), number)
            time.sleep(5)
            return 0

    monkeypatch.setattr("importlib.import_module", lambda _name: Slow)
    assert main(words) == 128 + number
    assert capsys.readouterr().err == f"impasto {' '.join(words)}: stopped\n"


PRINTS_NAMES = """
import importlib, logging, sys
from impasto.scripts import main
class Printing:
    @staticmethod
    def main(argv):
        from tqdm import tqdm
        name = "caf\\xe9 \\u6a21 \\udcff"
        print(name)
        print(name, file=sys.stderr)
        logging.warning(name)
        with tqdm([1], file=sys.stderr, desc=name) as bar:
            bar.write(name)
            bar.update()
        return 0
importlib.import_module = lambda name: Printing
raise SystemExit(main.main(["models"]))
"""


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", b"caf\\xe9 \\u6a21 \\udcff"),
        ("cp1252", b"caf\xe9 \\u6a21 \\udcff"),
        ("utf-8", "caf\xe9 \u6a21 \\udcff".encode()),
    ],
)
def test_names_that_a_terminal_does_not_know_are_escaped(encoding: str, shown: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS_NAMES],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0
    assert done.stdout == (shown + b"\n") * 2
    assert done.stderr.count(shown) >= 3


def test_without_any_stream_a_command_works() -> None:
    # As pythonw and some services start it.
    code = "import sys; from impasto.scripts.main import main; sys.exit(main(['--version']))"
    closed = subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -c "{code}" >&- 2>&-'], check=False
    )
    assert closed.returncode == 0


def test_a_full_disk_behind_the_output_is_no_traceback() -> None:
    code = "import sys; from impasto.scripts.main import main; sys.exit(main(['--help']))"
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_readers_of_pictures_say_nothing_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their complaints have no file name; what is said of a file is ours."""

    def command(_argv: object) -> int:
        logging.getLogger("PIL.TiffImagePlugin").error("More samples per pixel than can be decoded")
        warnings.warn_explicit("Corrupt EXIF data", UserWarning, "f", 1, module="PIL.Image")
        logging.getLogger("impasto.data.decode").warning("a.tif: very dark")
        return 0

    monkeypatch.setattr("impasto.scripts.models.main", command)
    before = {name: logging.getLogger(name).level for name in ("PIL", "tifffile")}
    with warnings.catch_warnings():
        assert main(["models"]) == 0
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    said = capsys.readouterr().err
    assert "samples" not in said
    assert "EXIF" not in said


@pytest.mark.parametrize("name", ["models", "train"])
def test_what_was_not_looked_at_is_told_once(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in ("a.png", "b.mov", "c.mov"):
        (tmp_path / file).touch()

    def command(_argv: object) -> int:
        for _ in range(2):
            list_pictures(tmp_path)
        sys.stderr.write("done\n")
        return 0

    monkeypatch.setattr(f"impasto.scripts.{name}.main", command)
    note = (
        f"note: {tmp_path}: 2 files (2 .mov) not looked at, as their names do not end like those "
        "of pictures"
    )
    assert main([name]) == 0
    # A training tells it before its long work, the others in their last lines.
    lines = [note, "done"] if name == "train" else ["done", note]
    assert capsys.readouterr().err.splitlines() == lines
    monkeypatch.setenv("RANK", "1")
    assert main([name]) == 0
    assert capsys.readouterr().err.splitlines() == ["done"]


# A disk that stores files and refuses all else, in one of the ways of networks and of Windows: it
# has no permissions, no times, no hard links, no locks, and cannot flush.
POOR_DISK = """
#include <errno.h>
#include <sys/stat.h>
#include <sys/time.h>
static int no(int number) { errno = number; return -1; }
int chmod(const char *path, mode_t mode) { return no(EPERM); }
int fchmod(int file, mode_t mode) { return no(EPERM); }
int fchmodat(int folder, const char *path, mode_t mode, int flags) { return no(EPERM); }
int utimes(const char *path, const struct timeval times[2]) { return no(EPERM); }
int futimens(int file, const struct timespec times[2]) { return no(EPERM); }
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    return no(EPERM);
}
int link(const char *old, const char *new) { return no(EPERM); }
int linkat(int from, const char *old, int to, const char *new, int flags) { return no(EPERM); }
int flock(int file, int operation) { return no(ENOLCK); }
int fsync(int file) { return no(EINVAL); }
"""

WRITING = """
import fcntl, os, sys
for refused in (
    lambda: os.chmod(".", 0o755), lambda: os.utime("."), lambda: os.link("a", "b"),
    lambda: fcntl.flock(0, fcntl.LOCK_EX), lambda: os.fsync(1),
):
    try:
        refused()
    except FileNotFoundError:
        raise
    except OSError:
        continue
    raise SystemExit("this disk is not poor")
from pathlib import Path
from impasto.scripts.main import main
from impasto.survey.answers import Answer, write_answers
from impasto.survey.key import read_key

def run(text):
    print("run:", text, flush=True)
    status = main(text.split())
    if status:
        raise SystemExit(f"{text}: {status}")

run("translate photos --output out --device cpu")
run("translate photos --output out --device cpu --overwrite true")
run(
    "train --dataroot data --name one --netG resnet_6blocks --ngf 2 --ndf 2 --load_size 28 "
    "--crop_size 24 --n_epochs 1 --n_epochs_decay 0 --num_threads 0 --print_freq 2 --device cpu"
)
run("train --resume --name one --n_epochs_decay 1")
run("plot one --output plots/plot.svg")
run("evaluate out --real photos --backbone none --size_px 32 --output measured --device cpu")
look = "--preset builtin --size 32 --iterations 2 --device cpu"
extra = "--video film.gif --triptych triptych.png --plot_losses losses.svg --save_every 2"
run(f"stylize photos/00.png photos/01.png {look} --output styled.png {extra}")
run(
    "sweep style_weight --contents photos/00.png --styles photos/01.png --output sweep "
    "--set preset=builtin size=32 iterations=2 style_weight=1"
)
run(
    "survey export --real real --fake net=fake --per_class 4 --practice 2 --width 48 "
    "--height 48 --output study --orders 3"
)
run("survey audit study --key study.key.json --output audit.json")
key = read_key(Path("study.key.json"))
write_answers(Path("answers.csv"), [
    Answer(survey_id=key.survey_id, participant=who, session=who, trial=number, token=trial[0],
           response=key.pictures[trial[0]].label, rt_ms=900.0, completed=True)
    for who in "abc" for number, trial in enumerate(key.orders[0])
])
run("survey report answers.csv --key study.key.json --study study --output report")
run(
    "backbone train --dataroot classes --name classes --size 32 --width 0.0625 --n_epochs 1 "
    "--num_threads 0 --device cpu"
)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs LD_PRELOAD")
def test_every_command_writes_to_a_disk_that_refuses_all_but_files(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "poor.c", tmp_path / "poor.so"
    source.write_text(POOR_DISK, encoding="utf-8")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-w", "-o", str(library), str(source)], check=True
    )
    here = tmp_path / "here"
    for name in ("photos", "data/trainA", "data/trainB", "classes/a", "classes/b"):
        picture_folder(f"here/{name}", count=4, seed=len(name) + ord(name[-1]))
    for seed, name in enumerate(("real", "fake")):
        picture_folder(f"here/{name}", count=12, size=(48, 48), seed=seed)
    (here / "a").write_text("to be linked", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", WRITING],
        cwd=here,
        env={**os.environ, "LD_PRELOAD": str(library), "TORCH_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    made = (
        *(
            "out/00.png",
            "out/index.html",
            "checkpoints/one/state.pt",
            "checkpoints/one/G_A.safetensors",
        ),
        *("plots/plot.svg", "measured/results.json", "styled.png", "film.gif", "sweep/index.html"),
        *("study.zip", "study/index.html", "audit.json", "report/index.html"),
        "checkpoints/classes/backbone.safetensors",
    )
    assert not [name for name in made if not (here / name).is_file()]
    assert not list(here.rglob(".impasto-*"))
