"""The pictures of a study: chosen, read, and prepared uniformly.

They are drawn at random: the same number from each generator, as many real pictures as fakes, and
each scene only once. Every picture is then prepared in the same way, so that its file reveals
nothing: decoded, converted to sRGB, resized, optionally compressed as JPEG, and encoded as PNG.
"""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from impasto.data.decode import read_picture
from impasto.data.files import list_pictures
from impasto.data.formats import PICTURE_SUFFIXES
from impasto.data.standardize import encode_plain_png, fit_picture, flatten_alpha, through_jpeg
from impasto.options.errors import FolderError, ImpastoError, OptionError, PictureError
from impasto.options.survey import SurveyExportOptions
from impasto.survey.key import file_sha256, make_rng
from impasto.survey.protocols import find_protocol

__all__ = [
    "REAL",
    "Candidate",
    "Gathered",
    "Needs",
    "Preparation",
    "Prepared",
    "choose",
    "find_candidates",
    "gather",
    "gathering_notes",
    "prepare",
    "scene_of",
]


REAL = ""
"""Name of the class of real pictures; those of fakes have the names of their generators."""

# What translating programs append; the reference's are 0001_fake_B.png, 0001_real_A.png.
_APPENDED = re.compile(r"[ _.-](fake|real|rec|idt|translated|stylized)([ _.-][ab])?$")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Picture file that can be selected for a study.

    Attributes:
        path: path of the file.
        group: :data:`REAL`, or the name of the generator.
        scene: scene that the picture shows, as inferred from the file name.
    """

    path: Path
    group: str
    scene: str


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Numbers of pictures of a group that are needed for scored and for practice trials."""

    scored: int
    practice: int

    @property
    def total(self) -> int:
        """Total number of pictures of the group."""
        return self.scored + self.practice


def scene_of(path: Path) -> str:
    """Return the scene of a picture, from its file name: ``0001_fake_B.png`` is ``0001``.

    Folders, extensions, case and Unicode normalization form are ignored.

    >>> scene_of(Path("out/IMG 7.jpg.png")) == scene_of(Path("in/img 7.JPG"))
    True
    """
    name = unicodedata.normalize("NFKC", path.name).casefold()
    while name.endswith(PICTURE_SUFFIXES):
        name = name.rpartition(".")[0]
    return _APPENDED.sub("", name) or name


def find_candidates(folders: Mapping[str, Path]) -> dict[str, list[Candidate]]:
    """List the pictures of every group.

    Args:
        folders: mapping from group to its folder; includes :data:`REAL`.

    Raises:
        FolderError: a folder is missing, holds no picture or a study, or a file is in two of them.
    """
    candidates: dict[str, list[Candidate]] = {}
    groups: dict[Path, str] = {}
    for group, folder in folders.items():
        paths = list_pictures(folder)
        _refuse_studies(folder, paths)
        for path in paths:
            before = groups.setdefault(path.resolve(), group)
            if before != group:
                raise FolderError(
                    folder,
                    f"{path} is {_called(before)} and {_called(group)}; give folders that do not "
                    "overlap",
                )
        candidates[group] = [
            Candidate(path=path, group=group, scene=scene_of(path)) for path in paths
        ]
    return candidates


def _refuse_studies(folder: Path, paths: Sequence[Path]) -> None:
    """Refuse folders that contain an earlier study: its pictures are real and fake ones."""
    inner = {place for path in paths for place in path.parents if place.is_relative_to(folder)}
    for place in sorted(inner):
        if (place / "study.json").is_file():
            raise FolderError(
                folder,
                f"holds an exported study, {place}, whose pictures are real and fake; move it away",
            )


def choose(
    candidates: Mapping[str, Sequence[Candidate]],
    needs: Mapping[str, Needs],
    rng: np.random.Generator,
    *,
    passed_over: Collection[Path] = (),
    repeat_scenes: bool = False,
) -> dict[str, list[Candidate]]:
    """Choose the pictures of every group, so that no two show the same scene.

    Args:
        candidates: available pictures of each group.
        needs: numbers of pictures needed from each group.
        rng: random number generator that draws the pictures; the same state gives the same choice.
        passed_over: files that cannot be used.
        repeat_scenes: if there are too few scenes, allow a scene to be shown both real and fake, or
            by several generators; never twice in a group.

    Returns:
        For each group, ``total`` pictures in random order; those for practice first.

    Raises:
        ImpastoError: there are too few pictures or scenes.
    """
    scenes = sorted({candidate.scene for group in candidates.values() for candidate in group})
    places = dict(zip(scenes, rng.permutation(len(scenes)).tolist(), strict=True))
    # Drawn for all candidates, so that passing one over changes as little as possible.
    offers: dict[str, dict[int, Candidate]] = {}
    for name in sorted(candidates):
        shuffled = [candidates[name][place] for place in rng.permutation(len(candidates[name]))]
        usable = [candidate for candidate in shuffled if candidate.path not in passed_over]
        offers[name] = {places[candidate.scene]: candidate for candidate in reversed(usable)}
        if len(offers[name]) < needs[name].total:
            raise ImpastoError(
                _too_few(name, len(offers[name]), len(candidates[name]), needs[name], passed_over)
            )
    matched = _match(offers, needs)
    if not repeat_scenes and any(len(matched[name]) < needs[name].total for name in matched):
        raise ImpastoError(_too_few_scenes(matched, needs))
    chosen: dict[str, list[Candidate]] = {}
    for name, places_of in matched.items():
        rest = sorted(set(offers[name]) - set(places_of))
        wanted = [*places_of, *rest[: needs[name].total - len(places_of)]]
        chosen[name] = [offers[name][place] for place in wanted]
    # Scenes that several groups show come last, so that practice keeps clear of what is judged.
    times = Counter(candidate.scene for group in chosen.values() for candidate in group)
    for name in sorted(chosen):
        mixed = [chosen[name][place] for place in rng.permutation(len(chosen[name]))]
        chosen[name] = sorted(mixed, key=lambda candidate: times[candidate.scene] > 1)
    return chosen


def _match(
    offers: Mapping[str, Mapping[int, Candidate]], needs: Mapping[str, Needs]
) -> dict[str, list[int]]:
    """Give every group scenes of its own, as many as can be (Hopcroft and Karp 1973)."""
    slots = [(name, index) for name in sorted(needs) for index in range(needs[name].total)]
    total = len(slots)
    # With as many scenes to choose from as there are slots, a group never goes short.
    at_hand = {name: np.array(sorted(offers[name])[:total], np.int32) for name in needs}
    columns = [at_hand[name] for name, _ in slots]
    starts = np.cumsum([0, *map(len, columns)], dtype=np.int32)
    indices: NDArray[np.int32] = np.concatenate(columns)
    width = 1 + int(indices.max())
    graph = csr_array((np.ones(len(indices), np.int8), indices, starts), shape=(total, width))
    partners = maximum_bipartite_matching(graph, perm_type="column")
    matched: dict[str, list[int]] = {name: [] for name in needs}
    for (name, _), place in zip(slots, partners.tolist(), strict=True):
        if place >= 0:
            matched[name].append(place)
    return matched


def _called(group: str) -> str:
    return "real" if group == REAL else f"fake ({group})"


def _too_few(name: str, have: int, files: int, needs: Needs, passed_over: Collection[Path]) -> str:
    reason = f" (of {files} files; some have the same name, or were passed over)"
    return (
        f"too few {_called(name)} pictures: {needs.scored} to judge and {needs.practice} for "
        f"practice are needed, and there are {have}"
        f"{reason if files != have else ''}; lower --per_class or --practice"
        f"{''.join(f'{chr(10)}  passed over: {path}' for path in sorted(passed_over)[:10])}"
    )


def _too_few_scenes(matched: Mapping[str, Sequence[int]], needs: Mapping[str, Needs]) -> str:
    have = ", ".join(
        f"{len(matched[name])} of {needs[name].total} {_called(name)}" for name in sorted(needs)
    )
    return (
        "too few different scenes: files of equal names are taken for the same scene, which nobody "
        f"may see both real and fake; without that there are {have}. Lower --per_class, add "
        "pictures, or, if equal names mean nothing or it does not matter, --repeat_sources true"
    )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Picture as it is shown to participants.

    Attributes:
        png: content of the PNG file.
        source_sha256: SHA-256 of the source file, hexadecimal.
        scale: size of the source relative to the shown picture, in pixels per pixel, the smaller of
            both axes; below 1, the picture was enlarged.
        jpeg: True if the source file is a JPEG.
    """

    png: bytes
    source_sha256: str
    scale: float
    jpeg: bool

    @property
    def sha256(self) -> str:
        """SHA-256 of the PNG file, hexadecimal."""
        return hashlib.sha256(self.png).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Preparation that is applied to every picture before it is shown.

    Attributes:
        width: width of the result in pixels.
        height: height of the result in pixels.
        crop: True to crop to the aspect ratio, False to stretch.
        jpeg_quality: quality of one JPEG compression before encoding as PNG; None: no JPEG
            compression.
    """

    width: int
    height: int
    crop: bool = True
    jpeg_quality: int | None = None

    def as_dict(self) -> Mapping[str, object]:
        """Return the preparation as a dictionary for the report."""
        return dict(vars(self))


def prepare(path: Path, preparation: Preparation) -> Prepared:
    """Read a picture and prepare it for a study.

    Raises:
        PictureError: the picture cannot be read.
    """
    picture = read_picture(path)
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise PictureError(path, f"cannot be read: {error.strerror or error}") from error
    rgb = fit_picture(
        flatten_alpha(picture),
        width=preparation.width,
        height=preparation.height,
        crop=preparation.crop,
    )
    if preparation.jpeg_quality is not None:
        rgb = through_jpeg(rgb, preparation.jpeg_quality)
    return Prepared(
        png=encode_plain_png(rgb),
        source_sha256=hashlib.sha256(stored).hexdigest(),
        scale=min(picture.width / preparation.width, picture.height / preparation.height),
        jpeg=stored.startswith(b"\xff\xd8\xff"),
    )


_SAME_SCALE = 1.25
_MOST_CLASHES = 20


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Pictures of a study before they get tokens and orders.

    Attributes:
        chosen: mapping from group to its chosen pictures, those for practice first.
        needs: mapping from group to the numbers of pictures for scored and for practice trials.
        prepared: mapping from source file to the prepared picture.
        passed_over: mapping from each file that cannot be used to the reason.
    """

    chosen: Mapping[str, Sequence[Candidate]]
    needs: Mapping[str, Needs]
    prepared: Mapping[Path, Prepared]
    passed_over: Mapping[Path, str]


def gather(
    options: SurveyExportOptions,
    folders: Mapping[str, Path],
    seed: int,
    *,
    on_picture: Callable[[int], None] | None = None,
) -> Gathered:
    """Choose pictures, skip damaged ones and duplicates, and choose again until all fit.

    Args:
        options: options of ``impasto survey export``.
        folders: mapping from group to its folder, the real one first.
        seed: random seed of the study.
        on_picture: function called after each picture with the total number of pictures.

    Raises:
        ImpastoError: there are too few pictures.
        PictureError: the same picture is among both the real and the fake ones.
    """
    needs = _needs(options, folders)
    candidates = find_candidates(folders)
    preparation = Preparation(
        width=options.width,
        height=options.height,
        crop=options.fit == "crop",
        jpeg_quality=options.jpeg_quality,
    )
    prepared: dict[Path, Prepared] = {}
    passed_over = _excluded(options.exclude, candidates)
    hashes: dict[Path, str] = {}
    total = sum(need.total for need in needs.values())
    while True:
        chosen = choose(
            candidates,
            needs,
            make_rng(seed, "selection"),
            passed_over=passed_over,
            repeat_scenes=options.repeat_sources,
        )
        before = len(passed_over)
        # Files first, which is fast: nobody waits for pictures that cannot be used.
        files = {
            one.path: _file_hash(one.path, hashes) for group in chosen.values() for one in group
        }
        usable = {
            name: [one for one in group if one.path not in passed_over]
            for name, group in candidates.items()
        }
        passed_over.update(_same_pictures(chosen, files, usable, hashes))
        if len(passed_over) > before:
            continue
        for candidate in (candidate for group in chosen.values() for candidate in group):
            if candidate.path in prepared:
                continue
            try:
                prepared[candidate.path] = prepare(candidate.path, preparation)
            except PictureError as error:
                passed_over[candidate.path] = error.reason
            if on_picture is not None:
                on_picture(total)
        shown = {path: ready.sha256 for path, ready in prepared.items()}
        passed_over.update(_same_pictures(chosen, shown))
        if len(passed_over) == before:
            return Gathered(chosen=chosen, needs=needs, prepared=prepared, passed_over=passed_over)


def _needs(options: SurveyExportOptions, folders: Mapping[str, Path]) -> dict[str, Needs]:
    """Return the number of pictures needed per group; practice alternates between generators."""
    generators = [name for name in folders if name != REAL]
    practice = find_protocol(options.protocol).practice_per_kind(options.practice)
    needs = {REAL: Needs(scored=options.per_class * len(generators), practice=practice)}
    for place, name in enumerate(generators):
        share = len(range(place, practice, len(generators)))
        needs[name] = Needs(scored=options.per_class, practice=share)
    return needs


def _excluded(
    listed: Path | None, candidates: Mapping[str, Sequence[Candidate]]
) -> dict[Path, str]:
    """Return the pictures that the researcher excludes, with the reason.

    Raises:
        OptionError: the list cannot be read, or names what is no picture of the folders.
    """
    if listed is None:
        return {}
    try:
        lines = [line.strip() for line in listed.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError("exclude", f"{listed} cannot be read: {error}") from error
    named: dict[str, list[Path]] = defaultdict(list)
    for one in (one for group in candidates.values() for one in group):
        for name in {one.path.name, str(one.path), str(one.path.resolve())}:
            named[name].append(one.path)
    excluded: dict[Path, str] = {}
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        found = named.get(line) or named.get(_resolved(line))
        if not found:
            raise OptionError(
                "exclude", f"{listed}, line {number}: {line} is no picture of --real or --fake"
            )
        excluded |= dict.fromkeys(found, "excluded by --exclude")
    return excluded


def _resolved(line: str) -> str:
    """Return the absolute path that a line means; an empty string if it cannot be one."""
    try:
        return str(Path(line).expanduser().resolve())
    except (OSError, RuntimeError, ValueError):
        return ""


def _file_hash(path: Path, hashes: dict[Path, str]) -> str:
    """Return the SHA-256 of a file, or an empty string if it cannot be read; read it only once."""
    if path not in hashes:
        try:
            hashes[path] = file_sha256(path)
        except OSError:
            hashes[path] = ""
    return hashes[path]


def _same_pictures(
    chosen: Mapping[str, Sequence[Candidate]],
    contents: Mapping[Path, str],
    candidates: Mapping[str, Sequence[Candidate]] | None = None,
    hashes: dict[Path, str] | None = None,
) -> dict[Path, str]:
    """Find pictures of the same content; nobody may see one twice.

    Args:
        chosen: chosen pictures of each group.
        contents: hash of each picture; those without one are passed by.
        candidates: all usable pictures of each group, whose files are looked at, too, if a picture
            is both real and fake, so that all such pictures are named at once.
        hashes: hashes of files that were read already.

    Raises:
        PictureError: pictures are among both the real and the fake ones; names all.
    """
    seen: dict[str, Candidate] = {}
    again: dict[Path, str] = {}
    for candidate in (candidate for group in chosen.values() for candidate in group):
        content = contents.get(candidate.path)
        if not content:
            continue
        other = seen.setdefault(content, candidate)
        if other is not candidate:
            again[candidate.path] = f"shows the same as {other.path}"
    if clashes := _clashes(chosen, contents):
        if candidates is not None and hashes is not None:
            every = [one.path for group in candidates.values() for one in group]
            clashes = _clashes(candidates, {path: _file_hash(path, hashes) for path in every})
        real, fake = clashes[0]
        more = "".join(
            f"\n  {one.path} and {other.path}" for one, other in clashes[1:_MOST_CLASHES]
        )
        if len(clashes) > _MOST_CLASHES:
            more += f"\n  and {len(clashes) - _MOST_CLASHES} more"
        raise PictureError(
            fake.path,
            f"shows the same, to the last pixel, as {real.path}: it cannot be both real and "
            f"fake ({fake.group})" + (f"; so do{more}" if more else ""),
        )
    return again


def _clashes(
    groups: Mapping[str, Sequence[Candidate]], contents: Mapping[Path, str]
) -> list[tuple[Candidate, Candidate]]:
    """Return the pairs of a real and a fake picture of the same content."""
    reals = {contents.get(one.path, ""): one for one in groups[REAL]}
    return [
        (reals[content], one)
        for name, group in groups.items()
        if name != REAL
        for one in group
        if (content := contents.get(one.path, "")) and content in reals
    ]


def gathering_notes(gathered: Gathered, *, equalized: bool) -> list[str]:
    """Return remarks about the gathered pictures for the researcher.

    Args:
        gathered: the pictures.
        equalized: whether all of them were put through JPEG.
    """
    chosen, prepared = gathered.chosen, gathered.prepared
    notes = []
    called = {name: "real pictures" if name == REAL else f"pictures of {name}" for name in chosen}
    scales = {}
    for name, group in chosen.items():
        ready = [prepared[one.path] for one in group]
        scales[name] = median(one.scale for one in ready)
        if enlarged := sum(one.scale < 1 for one in ready):
            notes.append(
                f"{enlarged} of {len(ready)} {called[name]} were enlarged; a smaller --width and "
                "--height would show all as they are"
            )
    if max(scales.values()) > _SAME_SCALE * min(scales.values()):
        each = ", ".join(f"{called[name]}: {scale:.2f}" for name, scale in scales.items())
        notes.append(
            f"originals are of different sizes ({each} times the size shown), which leaves some "
            "sharper than others; see the audit's warnings"
        )
    jpegs = {
        name: sum(prepared[one.path].jpeg for one in group) / len(group)
        for name, group in chosen.items()
    }
    if not equalized and max(jpegs.values()) - min(jpegs.values()) > 0.5:
        each = ", ".join(f"{100 * share:.0f} % of {called[name]}" for name, share in jpegs.items())
        notes.append(
            f"stored as JPEG: {each}; where people can see that, --equalize jpeg:90 gives all one "
            "history"
        )
    scenes = Counter(one.scene for group in chosen.values() for one in group)
    if repeated := sum(times > 1 for times in scenes.values()):
        notes.append(
            f"{repeated} scenes are shown more than once (--repeat_sources), never one right after "
            "the other; who notices can compare"
        )
    return notes
