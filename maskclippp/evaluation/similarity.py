"""How close in meaning the classes of a vocabulary are, for scores in which a wrong label counts in part.

After Zhou et al. 2023, "Rethinking Evaluation Metrics of Open-Vocabulary Segmentation". A matrix S of (K, K) numbers in
[0, 1] says how much of a hit it is to call class g by the name of class p: S[p, g], with S[k, k] = 1. The evaluators
take it as a plain argument, count hard pairs as ever, and weigh them at the end:

    true positives of g    get  S[p, g]       for each pixel, segment or instance of g called p
    false negatives of g   get  1 - S[p, g]
    false positives of p   get  1 - S[p, g]

and all metrics follow from these by their usual formulas. With the identity matrix they are the usual numbers, exactly.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F


def text_similarity(embeddings: Tensor, class_index: Tensor, num_classes: int) -> np.ndarray:
    """Return the cosine similarity of the classes' names: of two classes, that of their closest synonyms.

    Args:
        embeddings: (Ka, T, D), one vector per name and template; the mean over templates counts.
        class_index: (Ka,) long, the class of each name.
        num_classes: K.

    Returns:
        (K, K) float64, symmetric, clipped to [0, 1], 1 on the diagonal.
    """
    names = F.normalize(F.normalize(embeddings.detach().double().cpu(), dim=-1).mean(dim=1), dim=-1)
    cosine, index = (names @ names.T).numpy(), class_index.cpu().numpy()
    rows = np.full((num_classes, len(index)), -1.0)
    np.maximum.at(rows, index, cosine)
    result = np.full((num_classes, num_classes), -1.0)
    np.maximum.at(result.T, index, rows.T)
    result = result.clip(0.0, 1.0)
    np.fill_diagonal(result, 1.0)
    return result


def check_similarity(matrix: np.ndarray | None, num_classes: int) -> np.ndarray | None:
    """Return the matrix as float64.

    Raises:
        ValueError: not (K, K), a value outside [0, 1], or a diagonal that is not 1.
    """
    if matrix is None:
        return None
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape != (num_classes, num_classes):
        raise ValueError(f"the similarity matrix is {matrix.shape}, not {(num_classes, num_classes)}")
    if not ((matrix >= 0) & (matrix <= 1)).all() or not (np.diag(matrix) == 1).all():
        raise ValueError("the similarity matrix must have values from 0 to 1, and 1 on its diagonal")
    return matrix
