"""What travels between rooms; each structure is checked when it is made.

Letters used in shapes everywhere: B images, Q masks of one image, N masks of the batch (sum of Q), K classes, Ka names
(all synonyms of all classes), T prompt templates, D width of the CLIP embedding, h x w patch grid, H x W input image,
H0 x W0 original picture.
"""

from .class_space import ClassSpace, ClosedClasses, NoClasses, OpenClasses
from .image_batch import ImageBatch, ImageTransform
from .mask_rules import MaskRules
from .mask_set import MaskSet
from .parameter_rule import ParameterRule
from .predictions import DensePrediction, MaskPrediction, Prediction
from .prepared_vocabulary import PreparedVocabulary
from .resampled_masks import MaskTile, ResampledMasks
from .text_bank import TextBank
from .visual_output import VisualOutput

__all__ = [
    "ClassSpace",
    "ClosedClasses",
    "DensePrediction",
    "ImageBatch",
    "ImageTransform",
    "MaskPrediction",
    "MaskRules",
    "MaskSet",
    "MaskTile",
    "NoClasses",
    "OpenClasses",
    "ParameterRule",
    "Prediction",
    "PreparedVocabulary",
    "ResampledMasks",
    "TextBank",
    "VisualOutput",
]
