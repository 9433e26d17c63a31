"""Many stylizations in a grid: `plan` (axes become cells), `cells`, `run` (the job) and `page`."""
