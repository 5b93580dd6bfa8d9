"""Results to metrics: streaming evaluators that any number of processes can share and that a kill does not set back.

``registry.py`` says which evaluators a dataset gets; ``streaming.py`` what they have in common. Scores are logged as
copypaste lines and stand in ``inference/results.json``; each dataset's folder gets one CSV per task with a row per
class. On request (config keys):

* ``TEST.PICTURES N``: the confusion of classes, and the N images with the lowest score.
* ``TEST.SAVE_PREDICTIONS True``: label maps and panoptic segments as files.
* ``TEST.SIMILARITY_SCORES True``: Open mIoU, PQ and AP as tasks of their own (``similarity.py``).
* ``MODEL.MASKCLIPPP.TEST.SEGMENTOR_ONLY True``: generated masks with the classes of the truth, and their recall.
* ``MODEL.MASKCLIPPP.TEST.MASK_ACC True``: true masks with predicted classes.

An interrupted evaluation goes on when the same command is given again (``engine/progress.py``).
"""

from . import cityscapes, instance, lvis_instances, panoptic, predictions, semantic  # noqa: F401  (registers them)
from .dataset import EvaluatedDataset
from .registry import ALWAYS, EVALUATOR_REGISTRY, register_evaluator
from .streaming import StreamingEvaluator

__all__ = ["ALWAYS", "EVALUATOR_REGISTRY", "EvaluatedDataset", "StreamingEvaluator", "register_evaluator"]
