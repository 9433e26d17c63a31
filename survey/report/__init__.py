"""The report of a study: `job`, its `page`, its `figures`, and its `text` in plain words."""
