"""`impasto survey power`: how exact a study will be, and how large one must be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from impasto.options.command_line import CommandParser
from impasto.options.survey import SurveyPowerOptions

if TYPE_CHECKING:
    from impasto.survey.analysis.power import Design

__all__ = ["main"]

_EPILOG = """examples:
  impasto survey power --raters 14 --pictures 10
  impasto survey power --half_width 0.03 --rate 0.27
  impasto survey power --pilot report/results.json --raters 50

The width of the intervals depends on how much people and pictures differ, which only a pilot study
tells. The intervals of HYPE (Zhou et al. 2019) are consistent with people who differ by a standard
deviation of 0.2 to 0.6 in log-odds: for a rate of 50 %, two of three people lie within 5 to 15
percentage points of it.
"""
_RATERS = (5, 10, 14, 20, 30, 50, 100)
_PICTURES = (5, 10, 20, 50, 100, 200)


def main(argv: Sequence[str]) -> int:
    """Parse, compute, print; return the exit status."""
    parser = CommandParser(
        "impasto survey power",
        SurveyPowerOptions,
        description="Compute how precise a study will be, and how large it must be.",
        epilog=_EPILOG,
    )
    options = parser.make(SurveyPowerOptions, parser.parse(argv))

    from impasto.survey.analysis.power import Design, read_pilot  # noqa: PLC0415 - SciPy, after parsing

    rate, person_sd, picture_sd = (
        read_pilot(options.pilot) if options.pilot is not None else (0.5, 0.5, 1.0)
    )
    design = Design(
        raters=options.raters,
        pictures=options.pictures,
        rate=rate if options.rate is None else options.rate,
        person_sd=person_sd if options.person_sd is None else options.person_sd,
        picture_sd=picture_sd if options.picture_sd is None else options.picture_sd,
    )
    print(
        "\n\n".join(
            [_assumed(design), _widths(design), _sizes(design, options.half_width), _grid(design)]
        )
    )
    print(
        "\nnext: impasto survey export --real FOLDER --fake NAME=FOLDER "
        f"--per_class {design.pictures} --output study"
    )
    return 0


def _assumed(design: "Design") -> str:
    people, pictures = design.variances.people**0.5, design.variances.pictures**0.5
    return (
        f"{design.raters} people judge {design.pictures} pictures of a generator and as many real "
        "ones.\n"
        f"Assumed: a fooling rate of {design.rate:.0%}; people differ by {design.person_sd:.2g} "
        f"(standard deviation in log-odds;\nof their rates: {100 * people:.0f} points), pictures "
        f"by {design.picture_sd:.2g} ({100 * pictures:.0f} points)."
    )


def _widths(design: "Design") -> str:
    from impasto.survey.analysis.power import picture_half_width  # noqa: PLC0415

    independent = design.half_width_if_independent()
    rows = [
        ("one picture", picture_half_width(design.raters, design.rate)),
        ("the generator, for other people and other pictures", design.half_width()),
        ("the generator, for other people and these very pictures", design.half_width_for_people()),
        ("(if all answers were independent, which they are not", independent),
    ]
    lines = ["95 % intervals to expect:"]
    lines += [f"  {name:<57} +-{100 * width:5.1f} points" for name, width in rows]
    lines[-1] += ")"
    lines += [
        "",
        "Detected with a power of 80 %:",
        f"  {'a difference between the fooling rates of two generators':<59}"
        f"{100 * design.detectable_difference():5.1f} points",
        f"  {'that people only guess, as an error of 50 %, within':<57} "
        f"+-{100 * design.provable_margin():5.1f} points",
    ]
    return "\n".join(lines)


def _sizes(design: "Design", half_width: float) -> str:
    from impasto.survey.analysis.power import raters_for_picture  # noqa: PLC0415

    one = raters_for_picture(half_width, design.rate)
    raters, pictures = design.raters_for(half_width), design.pictures_for(half_width)
    return "\n".join(
        [
            f"For +-{100 * half_width:g} points:",
            f"  {'one picture':<57} {_people(one)}",
            f"  {f'the generator, with {design.pictures} pictures':<57} {_people(raters)}",
            f"  {f'the generator, with {design.raters} people':<57} "
            + (f"{pictures:,} pictures" if pictures else "no number of pictures is enough"),
        ]
    )


def _people(count: int | None) -> str:
    return f"{count:,} people" if count else "no number of people is enough"


def _grid(design: "Design") -> str:
    from dataclasses import replace  # noqa: PLC0415

    raters = sorted({*_RATERS, design.raters})
    pictures = sorted({*_PICTURES, design.pictures})
    lines = ["+- points for the generator (other people, other pictures), by people and pictures:"]
    lines.append("  people" + "".join(f"{count:>8,}" for count in pictures) + "  pictures")
    for people in raters:
        widths = [replace(design, raters=people, pictures=count).half_width() for count in pictures]
        lines.append(f"{people:>8,}" + "".join(f"{100 * width:>8.1f}" for width in widths))
    return "\n".join(lines)
