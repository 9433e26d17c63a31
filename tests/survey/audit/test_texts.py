"""What is searched for in the texts of a study."""

from impasto.survey.audit.texts import find_terms


def test_words_that_every_page_has_are_not_secrets() -> None:
    hits, left_out = find_terms(
        "body { style: 1 }  catstyle",
        {"Style": "name of a generator", "cat": "name of a generator"},
        known=["<style>"],
    )
    assert hits == []
    assert left_out == ["Style"]
