"""`import impasto` loads nothing else, and lists what there is."""

import json
import subprocess
import sys

import impasto

CODE = """
import json, sys
before = set(sys.modules)
import impasto
print(json.dumps(sorted(set(sys.modules) - before)))
impasto.translate
print(json.dumps("torch" in sys.modules))
"""


def test_importing_loads_itself_and_little_of_python() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    loaded, torch = map(json.loads, done.stdout.splitlines())
    assert torch is False
    packages = {name.partition(".")[0] for name in loaded}
    assert packages - sys.stdlib_module_names == {"impasto", "lazy_loader"}
    assert len(loaded) < 60, loaded  # 4 beside a bare Python; NumPy alone loads 114


def test_it_exports_these_names() -> None:
    functions = [
        "evaluate",
        "export",
        "export_study",
        "load_generator",
        "report_study",
        "serve_study",
    ]
    functions += ["fetch", "stylize", "sweep", "train", "translate", "translate_all"]
    assert sorted(impasto.__all__) == sorted(["Translator", "__version__", *functions])
    assert set(impasto.__all__) <= set(dir(impasto))
    for name in functions:
        documentation = getattr(impasto, name).__doc__
        assert all(part in documentation for part in ("Args:", "Returns:", "Raises:", "Example:"))
