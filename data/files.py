"""Which files are pictures, in folders and on a command line, and how converted ones are named."""

import difflib
import hashlib
import itertools
import logging
import os
import unicodedata
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from impasto.data.films.reading import FILM_SUFFIXES
from impasto.data.formats import ARRAY_SUFFIXES, PICTURE_SUFFIXES
from impasto.data.provenance import (
    PREVIEWS_MARK,
    made_below,
    sheets_of_sweeps,
    stylized_below,
)
from impasto.options.errors import FolderError, ImpastoError, PictureError

__all__ = [
    "find_class_folders",
    "fit_name",
    "gather_pictures",
    "is_passed_over",
    "list_pairs",
    "list_pictures",
    "near_name",
    "output_names",
    "pick_shard",
    "refuse_missing",
]


_LOGGER = logging.getLogger(__name__)

_SYSTEM_FOLDERS = {
    *("$recycle.bin", "$extend", "system volume information"),  # Windows
    *("__macosx", "network trash folder", "temporary items"),  # macOS
    "lost+found",  # Linux
    *("@eadir", "#recycle", "#snapshot", "@tmp"),  # Synology
    *("@recycle", "@recently-snapshot"),  # QNAP
    "~snapshot",  # NetApp
}
_LONGEST_NAME_BYTES = 255  # of Linux and macOS; Windows counts characters, which are no more


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a folder that a system keeps for itself.

    Those of systems hold thumbnails, waste and copies, not the user's pictures, and many cannot be
    opened.
    """
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def fit_name(name: str) -> str:
    """Return the name of a file, shortened where it is longer than disks allow.

    A shortened name keeps its ending and has a hash of the whole, so that two names do not become
    one.

    Args:
        name: name of a file, without its folder.

    Returns:
        A name of at most 255 bytes.
    """
    whole = os.fsencode(name)
    if len(whole) <= _LONGEST_NAME_BYTES:
        return name
    ending = f"~{hashlib.sha256(whole).hexdigest()[:8]}{PurePosixPath(name).suffix[:16]}"
    kept = whole[: _LONGEST_NAME_BYTES - len(os.fsencode(ending))]
    return kept.decode("utf-8", "ignore") + ending


def list_pictures(
    folder: Path,
    *,
    exclude: Path | None = None,
    results: bool = False,
    films: bool = False,
    arrays: bool = False,
) -> list[Path]:
    """List the picture files in ``folder`` and its sub-folders.

    How many other files there are, and of which endings, is logged as information, which commands
    print. Hidden files and folders (a leading dot) and those of systems (``$RECYCLE.BIN``,
    ``lost+found``, ``@eaDir``) are skipped, and so are folders of previews, as in the results of
    ``impasto translate``: among them are the photographs themselves. What Impasto made of pictures
    in ``folder`` is skipped and counted in the same way: results of ``impasto translate`` in a
    sub-folder, and results of ``impasto stylize`` and ``impasto sweep``, which have a recipe beside
    them. Contact sheets and curves of a sweep are no pictures in any folder.
    Links are followed; a folder that can be reached in several ways is listed once, by its own
    place where that lies in ``folder``.

    Args:
        folder: the folder to search.
        exclude: a folder whose whole content is left out, for example an output folder that lies
            inside ``folder``. It need not exist.
        results: list the results of pictures in ``folder``, too, but no contact sheets and curves.
        films: list video files, too.
        arrays: list arrays of numbers, ``.npy``, too.

    Returns:
        Paths that begin with ``folder``, sorted by their POSIX form relative to it, which is the
        same order on every system.

    Raises:
        FolderError: ``folder`` or a sub-folder does not exist or cannot be listed, ``folder`` is a
            file, lies inside ``exclude``, or holds no picture, or results only.
    """
    if not folder.is_dir():
        raise FolderError(folder, _why_not_a_folder(folder))
    left_out = exclude.resolve() if exclude is not None else None
    if left_out is not None and folder.resolve().is_relative_to(left_out):
        same = folder.resolve() == left_out
        where = "is the output folder, too" if same else f"lies in the output folder {exclude}"
        raise FolderError(
            folder,
            f"{where}, whose pictures are results and not looked at; choose an output folder "
            "elsewhere",
        )
    files, previews = _walk(folder, left_out)
    added = (*(FILM_SUFFIXES if films else ()), *(ARRAY_SUFFIXES if arrays else ()))
    suffixes = (*PICTURE_SUFFIXES, *added)
    pictures = [path for path in files if path.suffix.lower() in suffixes]
    others = _describe(path for path in files if path.suffix.lower() not in suffixes)
    if not pictures:
        raise FolderError(folder, _why_empty(folder, others, suffixes))
    if others:
        _LOGGER.info(
            "%s: %s not looked at, as their names do not end like those of pictures", folder, others
        )
    made = sheets_of_sweeps(files)
    if not results:
        made |= made_below(folder, [place for place in previews if place.parent != folder])
        made |= stylized_below(folder, (path for path in files if path.suffix == ".yaml"))
    pictures = _without(made, folder, pictures)
    return sorted(pictures, key=lambda path: path.relative_to(folder).as_posix())


def list_pairs(
    folder_A: Path,  # noqa: N803
    folder_B: Path,  # noqa: N803
    *,
    arrays: bool = False,
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """List the pairs of pictures in two folders: those whose names are equal but for the ending.

    Args:
        folder_A: folder of the first pictures.
        folder_B: folder of the second ones; the same folder stands for pictures that hold both
            halves of a pair side by side, each of which is then listed with itself.
        arrays: list arrays of numbers, ``.npy``, too.

    Returns:
        The pairs, in the order of :func:`list_pictures`; and the pictures of both folders that have
        no partner in the other one.

    Raises:
        FolderError: as :func:`list_pictures` raises it; there is no pair; or a name stands for
            several pictures of a folder.
    """
    first = list_pictures(folder_A, arrays=arrays)
    if folder_A.resolve() == folder_B.resolve():
        return [(path, path) for path in first], []
    second = list_pictures(folder_B, arrays=arrays)
    ones, others = _by_stem(folder_A, first), _by_stem(folder_B, second)
    pairs = [(path, others[stem]) for stem, path in ones.items() if stem in others]
    lonely = [path for stem, path in ones.items() if stem not in others]
    lonely += [path for stem, path in others.items() if stem not in ones]
    if not pairs:
        raise FolderError(
            folder_A,
            f"none of its {len(first)} pictures has a partner in {folder_B}; expected files of the "
            f"same names but for their endings, got {first[0].name} here and {second[0].name} "
            "there",
        )
    return pairs, lonely


def _by_stem(folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    """Return pictures by their names in a folder, without endings.

    Raises:
        FolderError: two differ in their endings only.
    """
    named: dict[str, Path] = {}
    for path in paths:
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in named:
            raise FolderError(
                folder,
                f"holds {named[stem].name} and {path.name}, so that nobody knows which of them a "
                "pair is made of; keep one",
            )
        named[stem] = path
    return named


def _without(made: Collection[Path], folder: Path, pictures: list[Path]) -> list[Path]:
    """Leave out, and log, what was made of the pictures in a folder."""
    kept = [path for path in pictures if path not in made]
    if not kept:
        raise FolderError(folder, "holds no picture but what Impasto made of those in it before")
    if passed_over := sorted(set(pictures) - set(kept)):
        _LOGGER.info(
            "%s: %d %s passed over, which Impasto made of others there, such as %s",
            folder,
            len(passed_over),
            "picture" if len(passed_over) == 1 else "pictures",
            passed_over[0],
        )
    return kept


def find_class_folders(root: Path) -> dict[str, Path]:
    """Return the folders in a folder by their names, which are the classes, sorted.

    Raises:
        FolderError: there are fewer than two class folders.
    """
    if not root.is_dir():
        raise FolderError(root, "no such folder; expected one with a folder of pictures per class")
    found = {
        path.name: path
        for path in sorted(root.iterdir())
        if path.is_dir() and not is_passed_over(path.name)
    }
    if len(found) < 2:
        raise FolderError(
            root,
            f"holds {', '.join(found) or 'no folder'}; expected two or more folders, each with the "
            "pictures of one class (name them with --classes where they lie elsewhere)",
        )
    return found


def output_names(
    inputs: Sequence[Path], *, root: Path, suffix: str | Sequence[str]
) -> list[PurePosixPath]:
    """Name the output of every input of a folder conversion.

    The tree below ``root`` is kept and the ending replaced: ``a/b.jpg`` becomes ``a/b.png``.
    Inputs whose outputs would collide, on a file system that ignores case or Unicode form too, all
    keep their own ending in the name: ``b.jpg`` and ``b.png`` become ``b.jpg.png`` and
    ``b.png.png``. Inputs that differ in nothing else (``b.jpg`` and ``B.jpg``) are also numbered.
    Names longer than disks allow are shortened, as by :func:`fit_name`.

    Args:
        inputs: files below ``root``. A file's name does not depend on its place in the list.
        root: the folder that is converted.
        suffix: the ending of the outputs, with its dot; or one for each.

    Returns:
        Paths relative to the output folder, one for each input, in the order of ``inputs``. No two
        are the same file, and none is a folder of another, on any common file system.

    Raises:
        ValueError: an input does not lie below ``root``, or ``suffix`` does not begin with a dot.
    """
    endings = [suffix] * len(inputs) if isinstance(suffix, str) else suffix
    for ending in (suffix,) if isinstance(suffix, str) else endings:
        if not ending.startswith("."):
            raise ValueError(f"suffix must begin with a dot, got {ending!r}")
    sources = [PurePosixPath(path.relative_to(root).as_posix()) for path in inputs]
    folders = {_fold(parent) for source in sources for parent in source.parents}
    names = [
        source.with_name(fit_name(source.stem + ending))
        for source, ending in zip(sources, endings, strict=True)
    ]
    # A longer name can meet another input's short name (b.jpg.gif beside b.jpg and b.png), which
    # then becomes longer itself, so repeat until nothing changes; each round lengthens a name.
    is_long = [False] * len(names)
    while short := _short_and_taken(names, is_long, folders):
        for index in short:
            long = fit_name(sources[index].name + endings[index])
            names[index] = sources[index].with_name(long)
            is_long[index] = True
    _number_the_same(sources, names, folders, endings)
    return names


def _walk(folder: Path, left_out: Path | None) -> tuple[list[Path], list[Path]]:
    """Return all visible files below ``folder``, and folders of previews, whose are left out.

    Real folders come before links, and each only once.
    """
    files: list[Path] = []
    previews: list[Path] = []
    seen: set[tuple[int, int]] = set()
    if left_out is not None and left_out.is_dir():
        status = left_out.stat()
        seen.add((status.st_dev, status.st_ino))
    waiting = deque([folder])
    while waiting:
        current = waiting.popleft()
        try:
            status = current.stat()
            # Two links to each other would lead round in a circle for ever.
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            # What is no link is reached through the folder that is left out, if it lies inside.
            if left_out is not None and current.is_symlink() and _lies_in(current, left_out):
                continue
            with os.scandir(current) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise FolderError(current, f"cannot be listed: {error.strerror}") from error
        if any(entry.name == PREVIEWS_MARK for entry in found):
            previews.append(current)
            continue
        visible = [entry for entry in found if not is_passed_over(entry.name)]
        files.extend(current / entry.name for entry in visible if _is(entry, folder=False))
        folders = [entry for entry in visible if _is(entry, folder=True)]
        waiting.extendleft(current / entry.name for entry in folders if not entry.is_symlink())
        waiting.extend(current / entry.name for entry in folders if entry.is_symlink())
    pages = {place.parent / "index.html" for place in previews}  # which are of no interest
    return [path for path in files if path not in pages], previews


def _describe(files: Iterable[Path]) -> str:
    """Say how many files there are of each ending, the most frequent first; nothing for none."""
    counts = Counter(path.suffix.lower() for path in files)
    if not counts:
        return ""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count} {suffix or 'without an ending'}" for suffix, count in most[:8]]
    if len(most) > 8:
        named.append(f"{sum(count for _, count in most[8:])} of {len(most) - 8} other endings")
    total = counts.total()
    return f"{total} {'file' if total == 1 else 'files'} ({', '.join(named)})"


def _is(entry: os.DirEntry[str], *, folder: bool) -> bool:
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:  # a link to itself
        return False


def _lies_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def near_name(missing: Path, *, folders_only: bool = False) -> str:
    """Return ``"; did you mean X?"`` for what is there and is called nearly as what is missing.

    Where nothing is so called, return ``"; FOLDER has no 'NAME' and nothing of a like name"``.
    FOLDER is the deepest folder on the way that exists.

    Args:
        missing: path that does not exist.
        folders_only: whether only folders can be meant.
    """
    missing = missing.absolute()
    if missing.is_symlink():
        return "; it is a link to what is not there"
    while not missing.parent.exists():
        missing, folders_only = missing.parent, True
    try:
        beside = missing.parent.iterdir()
        names = sorted(path.name for path in beside if path.is_dir() or not folders_only)
    except OSError:
        names = []
    if close := difflib.get_close_matches(missing.name, names, n=1):
        return f"; did you mean {missing.parent / close[0]}?"
    return f"; {missing.parent} has no {missing.name!r} and nothing of a like name"


def refuse_missing(path: Path, *, reason: str = "") -> None:
    """Refuse what is not there, with what is called nearly so.

    Args:
        path: file or folder that a user named.
        reason: what it is needed for, in words.

    Raises:
        PictureError: there is no such file or folder.
    """
    if _is_missing(path):
        why = f"; {reason}" if reason else ""
        raise PictureError(path, f"no such file or folder{near_name(path)}{why}")


def _is_missing(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:  # whoever opens it says why it cannot be reached
        return False


def _why_not_a_folder(folder: Path) -> str:
    if folder.exists():
        return "is a file, not a folder; give the folder that holds it"
    return f"no such folder{near_name(folder, folders_only=True)}"


def _why_empty(folder: Path, others: str, suffixes: Iterable[str]) -> str:
    reason = (
        f"holds no picture: looked, in its sub-folders too, for {', '.join(suffixes)}"
        f" and found {f'only {others}' if others else 'no file'}"
    )
    halves = [name for name in ("trainA", "trainB") if (folder / name).is_dir()]
    if halves:
        reason += f"; {' and '.join(halves)} exist but hold no picture: was the dataset unpacked?"
    return reason


def _fold(path: PurePosixPath) -> str:
    """The form in which two names are the same file on Windows or macOS (Unicode 3.13, D145)."""
    folded = unicodedata.normalize("NFD", str(path)).casefold()
    return unicodedata.normalize("NFD", folded)


def _short_and_taken(
    names: list[PurePosixPath], is_long: list[bool], folders: set[str]
) -> list[int]:
    """Indices of names that collide and do not yet keep the ending of their input."""
    folded = [_fold(name) for name in names]
    uses = Counter(folded)
    return [
        index
        for index, name in enumerate(folded)
        if not is_long[index] and (uses[name] > 1 or name in folders)
    ]


def _number_the_same(
    sources: list[PurePosixPath],
    names: list[PurePosixPath],
    folders: set[str],
    endings: Sequence[str],
) -> None:
    """Number, in place, what still collides: inputs that differ only in case or Unicode form."""
    taken = folders | {_fold(name) for name in names}
    met = set(folders)
    for index in sorted(range(len(names)), key=lambda index: str(sources[index])):
        folded = _fold(names[index])
        if folded in met:
            source, ending = sources[index], endings[index]
            texts = (f"{source.name}-{number}{ending}" for number in itertools.count(2))
            numbered = (source.with_name(fit_name(text)) for text in texts)
            names[index] = next(name for name in numbered if _fold(name) not in taken)
            folded = _fold(names[index])
            taken.add(folded)
        met.add(folded)


def pick_shard(files: Sequence[Path], *, root: Path, shard: int, shards: int) -> list[Path]:
    """Return one of several parts of a list of files, which together are the whole, none twice.

    Which part a file belongs to depends on its path below ``root`` alone: not on the order of the
    list, on other files, nor on the machine. Parts of many files are about equally large.

    Args:
        files: files below ``root``.
        root: folder that paths are relative to.
        shard: number of the part, from 1 to ``shards``.
        shards: number of parts.

    Raises:
        ValueError: there is no such part, or a file does not lie below ``root``.
    """
    if not 1 <= shard <= shards:
        raise ValueError(f"expected a shard from 1 to {shards}, got {shard}")

    def part(file: Path) -> int:
        name = os.fsencode(file.relative_to(root).as_posix())
        return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % shards + 1

    return [file for file in files if part(file) == shard]


def gather_pictures(
    paths: Sequence[Path],
    *,
    exclude: Path,
    results: bool = False,
    films: bool = False,
    arrays: bool = False,
) -> tuple[list[Path], Path]:
    """Find all pictures that are meant, and the folder that their names are relative to.

    Args:
        paths: folders (searched with all that is below them) and single files.
        exclude: a folder to leave out: the output, which may lie inside of an input.
        results: list the results of pictures in a folder, too; see :func:`list_pictures`.
        films: list the video files in a folder, too.
        arrays: list arrays of numbers, ``.npy``, too.

    Returns:
        The files, each once, in the order of the arguments; and their common folder.

    Raises:
        FolderError: a path does not exist, or a folder holds no pictures.
        ImpastoError: there is no path at all.
    """
    if not paths:
        raise ImpastoError("no pictures were named; expected files or folders with pictures")
    for path in paths:
        if _is_missing(path):
            raise FolderError(path, f"no such file or folder{near_name(path)}")
    list_in = partial(list_pictures, exclude=exclude, results=results, films=films, arrays=arrays)
    if len(paths) == 1 and paths[0].is_dir():
        found_here = list_in(paths[0])
        return found_here, paths[0]
    found: dict[Path, None] = {}
    folders = []
    for path in paths:
        folder = path.parent if path.is_file() else path
        files = [path]
        if not path.is_file():
            files = list_in(path)
        # Only the folder is resolved: a picture may itself be a link to somewhere else.
        folders.append(folder.resolve())
        found.update(dict.fromkeys(folders[-1] / file.relative_to(folder) for file in files))
    try:
        root = Path(os.path.commonpath(folders))
    except ValueError as error:  # drives of Windows
        raise FolderError(folders[-1], "lies on another drive than the other inputs") from error
    return list(found), root
