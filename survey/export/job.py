"""`impasto survey export`: from folders of pictures to a study that tells nobody which are real."""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from impasto.options.errors import OptionError, SurveyError
from impasto.options.survey import SurveyExportOptions
from impasto.survey.audit.job import audit_study
from impasto.survey.audit.report import Audit
from impasto.survey.export.archive import public_files, publish, settle, staged, write_archive
from impasto.survey.export.assemble import assemble, attention_cards, pieces_of
from impasto.survey.export.platforms import write_platforms
from impasto.survey.export.select import REAL, gather, gathering_notes
from impasto.survey.export.site import write_site
from impasto.survey.key import Key, draw_tokens, file_sha256, make_rng, write_key
from impasto.survey.protocols import find_protocol
from impasto.survey.study import Study
from impasto.survey.texts import read_texts

__all__ = ["Exported", "export_study"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        folder: of the study; public.
        archive: of it; public.
        key: private.
        study: the public side.
        audit: what was looked at before it was published.
        passed_over: files that could not be read, and why.
        notes: what the researcher should know, in words.
    """

    folder: Path
    archive: Path
    key: Path
    study: Study
    audit: Audit
    passed_over: Mapping[Path, str]
    notes: Sequence[str]


def export_study(
    options: SurveyExportOptions, *, on_picture: Callable[[int], None] | None = None
) -> Exported:
    """Make a study: all of it, or nothing.

    Args:
        options: of ``impasto survey export``.
        on_picture: called after each picture, with how many there will be.

    Returns:
        What was written.

    Raises:
        OptionError: an option is missing.
        ImpastoError: there are too few pictures, or they cannot be ordered.
        SurveyError: the output exists, or the audit found a leak.
        OSError: something cannot be written.
    """
    rules = find_protocol(options.protocol)
    rules.practice_per_kind(options.practice)
    exposure_ms = rules.exposure_of(options.exposure_ms)
    folders = _folders(options)
    _refuse_existing(options)
    texts = read_texts(options.texts, rules.texts)
    seed = secrets.randbits(63) if options.seed is None else options.seed
    gathered = gather(options, folders, seed, on_picture=on_picture)
    survey_id = options.survey_id or f"study-{draw_tokens(1, make_rng(seed, 'survey id'))[0]}"
    study = Study(
        survey_id=survey_id,
        version=version("impasto"),
        protocol=options.protocol,
        question=options.question,
        pictures={},
        width=options.width,
        height=options.height,
        practice=[],
        orders=[],
        real_share=0.5,
        attention_checks=options.attention,
        exposure_ms=exposure_ms,
        mask_ms=options.mask_ms if rules.is_timed else 0,
        texts=texts,
    )
    pieces = [*pieces_of(gathered), *attention_cards(options, study, seed)]
    study, key = assemble(options, study, pieces, seed)
    contents = dict(zip(key.pictures, [one.png for one in pieces], strict=True))
    audit = _write(options, study, key, contents)
    return Exported(
        folder=options.output,
        archive=options.zip_path,
        key=options.key_path,
        study=study,
        audit=audit,
        passed_over=gathered.passed_over,
        notes=gathering_notes(gathered),
    )


def _folders(options: SurveyExportOptions) -> dict[str, Path]:
    """Return the folder of every group, the real one first."""
    if options.real is None:
        raise OptionError("real", "is missing: expected a folder with real pictures")
    if not options.generators:
        raise OptionError("fake", "is missing: expected NAME=FOLDER, one or more")
    folders = {REAL: options.real, **options.generators}
    for folder in folders.values():
        if options.output.resolve().is_relative_to(folder.resolve()):
            raise OptionError(
                "output",
                f"{options.output} lies in {folder}, so that another export would take its "
                "pictures, real and fake ones, for input; choose a folder outside of it",
            )
    return folders


def _refuse_existing(options: SurveyExportOptions) -> None:
    for path in (options.output, options.zip_path, options.key_path):
        if os.path.lexists(path):
            raise SurveyError(
                path,
                "exists, and an export replaces nothing, least of all a key; choose another "
                "--output, or move it away",
            )


def _write(
    options: SurveyExportOptions, study: Study, key: Key, contents: Mapping[str, bytes]
) -> Audit:
    """Write everything beside its place, look at it, and rename it all if it tells nothing."""
    with ExitStack() as stack:
        public = stack.enter_context(staged(options.output))
        private = stack.enter_context(staged(options.key_path))
        folder, archive = public / "study", public / "study.zip"
        (folder / "images").mkdir(parents=True)
        # In the order of their names, so that what a file system numbers tells nothing either.
        for token in sorted(contents):
            (folder / study.pictures[token]).write_bytes(contents[token])
        write_site(folder, study)
        write_platforms(folder / "platforms", study, base_url=options.base_url)
        settle(folder)
        texts = [path for path in public_files(folder) if path.parent.name != "images"]
        hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in texts}
        key = replace(key, files=hashes)
        write_archive(folder, archive, prefix=study.survey_id)
        write_key(private / "key.json", key)
        audit = audit_study(folder, key, archive=archive)
        if not audit.passed:
            found = [f"  {row.name}: {row.detail}" for row in audit.of("leak", "fault")[:10]]
            raise SurveyError(
                options.output,
                "was not written, because the study would give answers away:\n" + "\n".join(found),
            )
        options.key_path.parent.mkdir(parents=True, exist_ok=True)
        # The folder comes last: where it is, all is.
        publish(
            {
                private / "key.json": options.key_path,
                archive: options.zip_path,
                folder: options.output,
            }
        )
    return audit
