"""Analysis of a study: from answers and key to numbers.

`job` runs the whole analysis. `judgements` joins answers with the key, before `exclusions`;
`generators`, `agreement` and `permutation` compute the statistics; `bootstrap` and `components`
compute the intervals; `findings` holds the results. `power` and `simulation` are for planning a
study.
"""
