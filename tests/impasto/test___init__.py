"""`import impasto` is quick and lists what there is."""

import json
import subprocess
import sys
from collections.abc import Callable

import impasto

FAST_S = 0.1
CODE = """
import json, sys, time
start = time.perf_counter()
import impasto
seconds = time.perf_counter() - start
heavy = sorted({"torch", "numpy", "PIL", "jsonargparse"} & set(sys.modules))
print(json.dumps([seconds, heavy]))
impasto.translate
print(json.dumps("torch" in sys.modules))
"""


def test_importing_takes_no_time_and_no_torch(
    record_property: Callable[[str, object], None],
) -> None:
    # The best of a few, since the machine may be busy.
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
        )
        (seconds, heavy), torch = map(json.loads, done.stdout.splitlines())
        assert heavy == []
        assert torch is False
        runs.append(seconds)
    record_property("import_impasto_s", round(min(runs), 4))
    assert min(runs) < FAST_S, f"import impasto took {min(runs):.3f} s"


def test_it_exports_these_names() -> None:
    functions = ["evaluate", "export_study", "load_generator", "report_study", "serve_study"]
    functions += ["stylize", "sweep", "train", "translate"]
    assert sorted(impasto.__all__) == sorted(["Translator", "__version__", *functions])
    assert set(impasto.__all__) <= set(dir(impasto))
    for name in functions:
        documentation = getattr(impasto, name).__doc__
        assert all(part in documentation for part in ("Args:", "Returns:", "Raises:", "Example:"))
