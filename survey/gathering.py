"""The pictures of a study: chosen, read, and made alike."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from impasto.options.errors import PictureError
from impasto.options.survey import SurveyExportOptions
from impasto.survey.pictures import Prepared, Way, prepare
from impasto.survey.selection import REAL, Candidate, Needs, choose, find_candidates
from impasto.survey.tokens import make_rng

__all__ = ["Gathered", "gather", "gathering_notes"]

_SAME_SCALE = 1.25


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a study is made of.

    Attributes:
        chosen: of every group its pictures, those for practice first.
        needs: of every group, how many of each kind.
        prepared: what is shown of each file.
        passed_over: files that cannot be shown, and why.
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
    """Choose pictures, pass over what is damaged or the same, and choose again until all fit.

    Args:
        options: of ``impasto survey export``.
        folders: of every group, the real one first.
        seed: of the study.
        on_picture: called after each picture, with how many there will be.

    Raises:
        ImpastoError: there are too few.
        PictureError: a picture is both real and fake.
    """
    needs = _needs(options, folders)
    candidates = find_candidates(folders)
    way = Way(
        width=options.width,
        height=options.height,
        crop=options.fit == "crop",
        jpeg_quality=options.jpeg_quality,
    )
    prepared: dict[Path, Prepared] = {}
    passed_over: dict[Path, str] = {}
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
        for one in (one for group in chosen.values() for one in group):
            if one.path in prepared:
                continue
            try:
                prepared[one.path] = prepare(one.path, way)
            except PictureError as error:
                passed_over[one.path] = error.reason
            if on_picture is not None:
                on_picture(total)
        passed_over.update(_same_pictures(chosen, prepared))
        if len(passed_over) == before:
            return Gathered(chosen=chosen, needs=needs, prepared=prepared, passed_over=passed_over)


def _needs(options: SurveyExportOptions, folders: Mapping[str, Path]) -> dict[str, Needs]:
    """Return how many pictures of every group are needed; practice takes turns of generators."""
    generators = [name for name in folders if name != REAL]
    practice = options.practice if options.protocol == "pair" else options.practice // 2
    needs = {REAL: Needs(scored=options.per_class * len(generators), practice=practice)}
    for place, name in enumerate(generators):
        share = len(range(place, practice, len(generators)))
        needs[name] = Needs(scored=options.per_class, practice=share)
    return needs


def _same_pictures(
    chosen: Mapping[str, Sequence[Candidate]], prepared: Mapping[Path, Prepared]
) -> dict[Path, str]:
    """Find pictures that look the same to the last pixel; nobody may see one twice.

    Raises:
        PictureError: one is both real and fake.
    """
    seen: dict[str, Candidate] = {}
    again: dict[Path, str] = {}
    for one in (one for group in chosen.values() for one in group):
        if one.path not in prepared:
            continue
        other = seen.setdefault(prepared[one.path].sha256, one)
        if other is one:
            continue
        if REAL in (one.group, other.group) and one.group != other.group:
            fake = one if other.group == REAL else other
            raise PictureError(
                one.path,
                f"shows the same, to the last pixel, as {other.path}: it cannot be both real and "
                f"fake ({fake.group})",
            )
        again[one.path] = f"shows the same as {other.path}"
    return again


def gathering_notes(gathered: Gathered) -> list[str]:
    """Say what a researcher should know of the pictures."""
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
    if max(jpegs.values()) - min(jpegs.values()) > 0.5:
        each = ", ".join(f"{100 * share:.0f} % of {called[name]}" for name, share in jpegs.items())
        notes.append(
            f"stored as JPEG: {each}; where people can see that, --equalise jpeg:90 gives all one "
            "history"
        )
    scenes = Counter(one.scene for group in chosen.values() for one in group)
    if repeated := sum(times > 1 for times in scenes.values()):
        notes.append(
            f"{repeated} scenes are shown more than once (--repeat_sources), never one right after "
            "the other; who notices can compare"
        )
    return notes
