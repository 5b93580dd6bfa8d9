"""A run: command line, training loop, optimizer, checkpoints, evaluation, tracking."""

from maskclippp.utils.requirements import require_detectron2

require_detectron2()
