"""Training an own VGG as feature network.

Read in this order: `data` (folders of classes), `loading` (batches), `model`, `learner` (a step)
and `train` (the whole job).
"""
