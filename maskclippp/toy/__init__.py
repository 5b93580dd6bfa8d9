"""The toy world: a small drawn data set with open-vocabulary structure, and the tiny CLIP that was pre-trained on it.

Nothing in the framework treats it specially; it is written in the real formats and registered like any other data set.
"""
