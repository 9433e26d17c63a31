"""One thin module for each action of `impasto survey`, in the order of a study.

`power` says how precise it will be, `export` makes it, `audit` searches it for leaks, `links` lets
people in, `serve` or `import_` collects the answers, and `report` analyzes them.
"""
