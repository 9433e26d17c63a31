"""Where a training is watched: `console`, report `page`, `visdom`, `tensorboard`, `tracking`.

Each is an observer (:mod:`impasto.runs.observers`); none can end or change a training.
"""
