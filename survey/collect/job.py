"""`impasto survey import`: answers of many files as one table, and a report of irregularities."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from impasto.options.errors import SurveyError
from impasto.options.survey import AnswerFormat
from impasto.survey.answers import Answer, measurements_of
from impasto.survey.collect.formats import read_file
from impasto.survey.collect.rows import Names, RawAnswer, ReadFile, Vocabulary, abbreviate
from impasto.survey.key import Key

__all__ = ["Imported", "Oddity", "import_answers", "participants_table"]


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """Irregularity that a researcher should look at.

    Attributes:
        what: kind of irregularity, e.g. ``unknown pictures``.
        count: number of occurrences.
        names: what is affected or where it occurred, such as pictures, participants or lines; each
            listed once.
    """

    what: str
    count: int
    names: Sequence[str]

    def __str__(self) -> str:
        return f"{self.what}: {self.count} ({abbreviate(self.names)})"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Result of an import.

    Attributes:
        answers: checked answers, sorted by participant, session, and trial.
        files: contents of the files as they were read.
        oddities: irregularities: what was skipped or looks wrong.
        people: mapping from participant to their data in a Prolific export.
    """

    answers: Sequence[Answer]
    files: Sequence[ReadFile]
    oddities: Sequence[Oddity]
    people: Mapping[str, Mapping[str, str]]

    @property
    def participants(self) -> list[str]:
        """Identifiers of the participants who answered, sorted."""
        return sorted({answer.participant for answer in self.answers})


class _Tally:
    """Counts of what is odd, with names."""

    def __init__(self) -> None:
        self._names: dict[str, Counter[str]] = defaultdict(Counter)

    def note(self, what: str, name: str, times: int = 1) -> None:
        self._names[what][name] += times

    def oddities(self) -> list[Oddity]:
        return [
            Oddity(what=what, count=names.total(), names=list(names))
            for what, names in self._names.items()
        ]


def import_answers(
    paths: Sequence[Path], *, key: Key | None = None, format_: AnswerFormat = "auto"
) -> Imported:
    """Read files of answers, which can be of different formats.

    Of several sessions of the same participant only the first counts, as in a report: by time if it
    is known, otherwise in the order of the files. Of several answers to the same picture in a
    session only the first counts. Participants without an identifier are different people in every
    file.

    Args:
        paths: files to read.
        key: answer key of the study; without it, unknown pictures and missing answers cannot be
            detected.
        format_: format of all files; ``auto`` detects it for each file.

    Raises:
        SurveyError: a file cannot be read, or no file contains a readable answer.
    """
    vocabulary = Vocabulary.of(key)
    names = Names()
    # A file that is given twice has the same people.
    numbers: dict[Path, int] = {}
    files = [
        read_file(
            path,
            format_,
            vocabulary,
            names.of_file(numbers.setdefault(path.resolve(), number)),
        )
        for number, path in enumerate(paths, 1)
    ]
    tally = _Tally()
    for name in sorted(names.repeated):
        tally.note("without an id and of the same name in several files, taken for others", name)
    for file in files:
        for note in file.notes:
            tally.note("notes", f"{file.path.name}: {note}")
    answers = [
        answer
        for file in files
        for raw in file.answers
        if (answer := _checked(raw, key, vocabulary, tally)) is not None
    ]
    if not answers:
        reasons = "; ".join(map(str, tally.oddities())) or "the files hold none"
        raise SurveyError(paths[0], f"no answer could be read: {reasons}")
    answers = _without_repeats(_first_sessions(answers, tally), tally)
    answers = _complete(answers, key, tally)
    people = {name: row for file in files for name, row in file.people.items()}
    _join(answers, people, tally)
    answers.sort(key=lambda answer: (answer.participant, answer.session, answer.trial))
    return Imported(answers=answers, files=files, oddities=tally.oddities(), people=people)


def participants_table(imported: Imported) -> tuple[list[str], list[list[str]]]:
    """Return a table of all participants: header, and rows.

    The columns from the answers come first, followed by those of the Prolific export.
    """
    by_person: dict[str, list[Answer]] = defaultdict(list)
    for answer in imported.answers:
        by_person[answer.participant].append(answer)
    extra = list(dict.fromkeys(name for row in imported.people.values() for name in row))
    header = ["participant", "answers", "completed", *extra]
    rows = []
    for name in sorted(by_person.keys() | imported.people.keys()):
        judged = [answer for answer in by_person[name] if not answer.is_practice]
        completed = int(any(answer.completed for answer in judged))
        person = imported.people.get(name, {})
        rows.append(
            [name, str(len(judged)), str(completed), *(person.get(column, "") for column in extra)]
        )
    return header, rows


def _checked(
    raw: RawAnswer, key: Key | None, vocabulary: Vocabulary, tally: _Tally
) -> Answer | None:
    """Convert a raw answer to an answer; if that is impossible, note the reason."""
    name = "+".join(raw.trial)
    if key is not None and raw.survey_id and raw.survey_id != key.survey_id:
        tally.note("answers of another study", raw.survey_id)
        return None
    if key is not None and (unknown := [token for token in raw.trial if token not in key.pictures]):
        tally.note("unknown pictures", ", ".join(unknown))
        return None
    if not raw.text.strip():
        tally.note("blanks", f"{raw.participant}: {name}")
        return None
    pair = len(raw.trial) == 2
    response = vocabulary.meaning(raw.text, pair=pair)
    if response is None:
        hint = "; a choice between two takes --key" if pair and vocabulary.asked is None else ""
        tally.note("not understood", f"{raw.where}: {raw.text[:40]!r}{hint}")
        return None
    measured = measurements_of(raw)
    if raw.rt_ms is not None and raw.rt_ms < 0:
        measured["rt_ms"] = None
    known = key.pictures[raw.trial[0]] if key is not None else None
    practice = known.kind == "practice" if known else bool(raw.is_practice)
    return Answer(
        survey_id=raw.survey_id or (key.survey_id if key is not None else ""),
        participant=raw.participant or raw.session,
        session=raw.session or raw.participant,
        trial=raw.place,
        token=raw.trial[0],
        other=raw.trial[1] if pair else "",
        response=response,
        is_practice=practice,
        completed=bool(raw.completed),
        **measured,
    )


def _first_sessions(answers: Sequence[Answer], tally: _Tally) -> list[Answer]:
    """Keep all of each participant's first session, and nothing of later sessions.

    Returning participants have seen the pictures, and may know why their first visit would not
    count.
    """
    sessions: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        sessions[_visit(answer)].append(answer)
    # As in exclusions.first_sessions: practice alone shows no picture of the study.
    order = sorted(
        sessions,
        key=lambda name: (
            all(answer.is_practice for answer in sessions[name]),
            min((answer.onset for answer in sessions[name] if answer.onset), default="~"),
        ),
    )
    first: dict[str, str] = {}
    for participant, session in order:
        if first.setdefault(participant, session) != session:
            count = len(sessions[participant, session])
            tally.note("second sessions, left out", f"{participant}: {session}, {count} answers")
    return [answer for answer in answers if first[answer.participant] == answer.session]


def _without_repeats(answers: Sequence[Answer], tally: _Tally) -> list[Answer]:
    """Keep the first answer of each session to each picture."""
    kept: dict[tuple[str, str, str, str], Answer] = {}
    for answer in answers:
        # Two pictures are the same pair, whichever is left.
        left, right = sorted((answer.token, answer.other)) if answer.other else (answer.token, "")
        first = kept.setdefault((answer.participant, answer.session, left, right), answer)
        if first is answer:
            continue
        same = (
            first.response == answer.response
            if first.token == answer.token
            else (first.response != answer.response)
        )
        what = "duplicates" if same else "duplicates that contradict the first"
        tally.note(what, f"{answer.participant}: {answer.token}")
    return list(kept.values())


def _complete(answers: Sequence[Answer], key: Key | None, tally: _Tally) -> list[Answer]:
    """Mark completed sessions as such, and note those with missing answers."""
    judged = Counter(_visit(answer) for answer in answers if not answer.is_practice)
    if key is None:
        wanted = max(judged.values(), default=0)
    else:
        wanted = min((len(order) for order in key.orders), default=0)
    ended = {_visit(answer) for answer in answers if answer.completed}
    for visit in dict.fromkeys(map(_visit, answers)):
        if judged[visit] < wanted:
            what = "ended, and answers are missing" if visit in ended else "partial sessions"
            tally.note(what, f"{visit[0]}: {judged[visit]} of {wanted}")
    whole = {visit for visit, count in judged.items() if count >= wanted} | ended
    return [replace(answer, completed=_visit(answer) in whole) for answer in answers]


def _visit(answer: Answer) -> tuple[str, str]:
    return answer.participant, answer.session


def _join(
    answers: Sequence[Answer], people: Mapping[str, Mapping[str, str]], tally: _Tally
) -> None:
    """Note who is in the answers but not in Prolific's list, and vice versa."""
    if not people:
        return
    answered = {answer.participant for answer in answers}
    for name in sorted(answered - people.keys()):
        tally.note("answered, and not in Prolific's list", name)
    for name, row in sorted(people.items()):
        status = row.get("Status", "").upper().replace("_", "-")
        if name in answered and status in ("RETURNED", "TIMED-OUT", "REJECTED"):
            tally.note(f"answered, and {status.lower()} at Prolific", name)
        elif name not in answered and status in ("APPROVED", "AWAITING REVIEW", "AWAITING-REVIEW"):
            tally.note("in Prolific's list, and no answers", name)
