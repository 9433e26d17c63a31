"""Training one's own VGG as a feature network.

Read in this order: `data` (folders of classes), `loading` (batches), `model`, `learner` (a step)
and `train` (the whole job).
"""
