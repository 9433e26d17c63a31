"""From answers and key to numbers.

`job` is the whole. `judgements` joins answers with the key, before `exclusions`; `generators`,
`agreement` and `permutation` measure; `bootstrap` and `components` give intervals; `findings` holds
the result. `power` and `simulation` plan a study.
"""
