"""Which style and content a stylized picture is of."""

from pathlib import Path

import pytest

from impasto.cyclegan.evaluation.stylized import StyleFiles, find_origins, list_styles
from impasto.options.errors import FolderError


def styles(root: Path, *names: str) -> list[StyleFiles]:
    return [StyleFiles(name=name, path=root / f"{name}.jpg", files=()) for name in names]


@pytest.mark.parametrize(
    ("name", "source", "style"),
    [
        ("photo_starry_night.png", "photo.jpg", "starry_night"),
        ("photo_stylized_starry_night.jpg", "photo.jpg", "starry_night"),
        ("starry_night/photo.png", "photo.jpg", "starry_night"),
        ("Starry_Night--PHOTO2.png", "photo2.png", "starry_night"),
        ("photo2 in the style of night.png", "photo2.png", "night"),
        ("photographs.png", None, ""),
        ("night/cat.png", "cat.jpg", "night"),
        ("cat_night.png", "cat.jpg", "night"),
        ("photo-night_cat.png", "photo-night_cat.jpg", "night"),
    ],
)
def test_names_and_folders_tell(name: str, source: str | None, style: str) -> None:
    root = Path("results")
    inputs = ("photo.jpg", "photo2.png", "cat.jpg", "night_cat.jpg", "photo-night_cat.jpg")
    sources = [Path("in") / each for each in inputs]
    if style == "night":
        sources = [each for each in sources if each.name != "night_cat.jpg"]
    (origin,) = find_origins(
        root, [root / name], sources=sources, styles=styles(Path("s"), "night", "starry_night")
    )
    assert (origin.source and origin.source.name, origin.style) == (source, style)


def test_one_style_is_that_of_all_and_one_content_of_the_only_result() -> None:
    root, sources = Path("r"), [Path("in/photo.jpg")]
    (origin,) = find_origins(
        root, [root / "out.png"], sources=sources, styles=styles(Path("s"), "night")
    )
    assert (origin.source, origin.style) == (sources[0], "night")


def test_recipes_know_better_than_names(tmp_path: Path) -> None:
    one, two = (tmp_path / f"{name}.png" for name in ("day_a", "blend"))
    (tmp_path / "day_a.png.yaml").write_text(
        f"#| facts\ncontent: {tmp_path}/in/b.jpg\nstyles: [{tmp_path}/s/night.jpg]\n"
    )
    (tmp_path / "blend.png.yaml").write_text(
        f"content: {tmp_path}/in/a.jpg\nstyles: [{tmp_path}/s/night.jpg, {tmp_path}/s/day.jpg]\n"
    )
    sources = [tmp_path / "in" / name for name in ("a.jpg", "b.jpg")]
    found = find_origins(
        tmp_path, [one, two], sources=sources, styles=styles(tmp_path / "s", "night", "day")
    )
    assert [(origin.source, origin.style) for origin in found] == [
        (sources[1], "night"),
        (sources[0], ""),
    ]
    (tmp_path / "blend.png.yaml").write_text("[no recipe")
    (again,) = find_origins(
        tmp_path, [two], sources=sources, styles=styles(tmp_path / "s", "night", "day")
    )
    assert (again.source, again.style) == (None, "")


def test_styles_are_pictures_and_folders(tmp_path: Path) -> None:
    for name in ("a/night.jpg", "b/night.jpg", "many/1.png", "many/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = [tmp_path / "a/night.jpg", tmp_path / "b/night.jpg", tmp_path / "many"]
    found = list_styles(paths, exclude=tmp_path / "out")
    assert [style.name for style in found] == ["night", str(paths[1]), "many"]
    assert [len(style.files) for style in found] == [1, 1, 2]
    with pytest.raises(FolderError, match="named twice"):
        list_styles([paths[0], tmp_path / "b/../a/night.jpg"], exclude=tmp_path / "out")
    with pytest.raises(FolderError, match="no such folder"):
        list_styles([tmp_path / "mnay"], exclude=tmp_path / "out")
