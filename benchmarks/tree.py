"""Print how the tree stands: modules, the fullest folders, and modules that only one other imports.

python benchmarks/tree.py
"""

import ast
from collections import Counter, defaultdict
from pathlib import Path

__all__ = ["imported_once", "imports_of", "main", "modules"]

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("impasto", "options", "data", "runs", "cyclegan", "gatys", "styles", "survey", "scripts")


def modules() -> dict[str, Path]:
    """Return dotted names below `impasto` and their files, without the `__init__` of packages."""
    paths = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in sorted(paths)
        if path.name not in {"__init__.py", "__main__.py"}
    }


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """Return which of the known modules a file imports, wherever in it."""
    names: set[str] = set()
    package = "impasto." + path.parent.relative_to(ROOT).as_posix().replace("/", ".")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module}" if node.level else node.module or ""
            names |= {module} | {f"{module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
    return (names | {name.removeprefix("impasto.") for name in names}) & set(known)


def imported_once() -> dict[str, str]:
    """Return the modules that exactly one other imports, and that one."""
    known = modules()
    importers: defaultdict[str, set[str]] = defaultdict(set)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py*"):
            if path.suffix not in {".py", ".pyi"}:
                continue
            own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for name in imports_of(path, known) - {own}:
                importers[name].add(own)
    importers["scripts.main"].add("setup.cfg")
    return {name: next(iter(importers[name])) for name in known if len(importers[name]) == 1}


def main() -> None:
    """Print the numbers."""
    known, single = modules(), imported_once()
    lines = {name: path.read_text(encoding="utf-8").count("\n") for name, path in known.items()}
    shelves = Counter(path.parent.relative_to(ROOT).as_posix() for path in known.values())
    longest = max(lines, key=lambda name: lines[name])
    print(f"{len(known)} modules, {sum(lines.values()):,} lines; the longest is {longest}", end=" ")
    print(f"with {lines[longest]}")
    print(
        "fullest folders:", ", ".join(f"{name} {count}" for name, count in shelves.most_common(4))
    )
    print(f"imported by exactly one other: {len(single)} ({len(single) / len(known):.1%})")
    for name, importer in sorted(single.items()):
        print(f"  {name:<36} {lines[name]:>4} lines <- {importer}")


if __name__ == "__main__":
    main()
