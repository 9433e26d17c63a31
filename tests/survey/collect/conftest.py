"""The keys of two small studies, and a writer of files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from impasto.survey.key import Key, KeyedPicture
from tests.survey.collect.forms import CHECK, FAKE, JUDGED, PRACTICE, REAL, table


@pytest.fixture
def key() -> Key:
    def keyed(kind: Any, label: Any) -> KeyedPicture:
        return KeyedPicture(kind=kind, label=label, picture_sha256="0" * 64)

    pictures = {token: keyed("scored", "real") for token in REAL}
    pictures |= {token: keyed("scored", "fake") for token in FAKE}
    pictures |= {CHECK: keyed("attention", "real"), PRACTICE: keyed("practice", "fake")}
    return Key(
        survey_id="study-1",
        version="0",
        protocol="single",
        seed=1,
        pictures=pictures,
        orders=[[(token,) for token in JUDGED]],
        options={"words": {"answer_real": "Écht", "answer_fake": "Vervalst"}},
    )


@pytest.fixture
def pair_key(key: Key) -> Key:
    orders = [[(REAL[0], FAKE[0]), (FAKE[1], REAL[1])]]
    words = {"picture_first": "Foto 1", "picture_second": "Foto 2"}
    options = {"question": "fake", "words": words}
    return Key(**{**vars(key), "protocol": "pair", "orders": orders, "options": options})


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def save(
        rows: Sequence[Sequence[object]], name: str = "in.csv", encoding: str = "utf-8"
    ) -> Path:
        path = tmp_path / name
        path.write_bytes(table(rows).encode(encoding))
        return path

    return save
