"""Similarity matrices, and semantic scores that use them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maskclippp.evaluation.semantic import SemSegEvaluator, semantic_scores
from maskclippp.evaluation.similarity import check_similarity, text_similarity

NAMES = ["a", "b", "c"]


def test_text_similarity_takes_the_closest_synonyms() -> None:
    vectors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 1], [-1, 0, 0]])
    bank = F.normalize(vectors, dim=-1)[:, None].repeat(1, 2, 1)
    found = text_similarity(bank, torch.tensor([0, 0, 1, 2]), 3)
    assert found[0, 1] == pytest.approx(0.5**0.5) and (found == found.T).all()
    assert found[0, 2] == 0 and (np.diag(found) == 1).all()  # cosine -1 is cut off


@pytest.mark.parametrize(
    "matrix", [np.eye(2), np.eye(3) * 0.5, np.eye(3) - 0.1, np.eye(3) + np.nan, np.eye(3) + 1 - np.eye(3) * 2]
)
def test_wrong_matrices(matrix) -> None:
    with pytest.raises(ValueError, match="similarity matrix"):
        check_similarity(matrix, 3)


def test_identity_gives_the_usual_scores_exactly() -> None:
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 10**9, (12, 12))
    names, seen = [str(index) for index in range(11)], rng.random(11) < 0.5
    usual = semantic_scores(confusion, names, seen)
    np.testing.assert_equal(semantic_scores(confusion, names, seen, similarity=np.eye(11)), usual)


def test_by_hand() -> None:
    confusion = np.zeros((4, 4), int)
    confusion[0, 0], confusion[1, 0], confusion[1, 1] = 6, 4, 10
    similarity = np.eye(3)
    similarity[1, 0] = 0.25
    scores = semantic_scores(confusion, NAMES, similarity=similarity)
    # Class a: 6 + 4/4 of 10; class b: 10 hits, 10 true, 4 * 3/4 false alarms.
    assert scores["IoU-a"] == pytest.approx(70) and scores["IoU-b"] == pytest.approx(100 * 10 / 13)
    assert scores["ACC-a"] == pytest.approx(70) and scores["pACC"] == pytest.approx(100 * 17 / 20)


def test_more_similarity_never_lowers_a_score() -> None:
    rng = np.random.default_rng(1)
    confusion = rng.integers(0, 50, (6, 6))
    low = np.clip(rng.random((5, 5)), 0, 0.5)
    np.fill_diagonal(low, 1)
    high = np.minimum(low + 0.3, 1)
    names = list("abcde")
    scores = [semantic_scores(confusion, names, similarity=matrix) for matrix in (np.eye(5), low, high)]
    for key in scores[0]:
        assert scores[0][key] <= scores[1][key] <= scores[2][key], key


def test_evaluator_reports_both_tasks(label_file, tmp_path) -> None:
    evaluator = SemSegEvaluator(NAMES, similarity=np.full((3, 3), 0.5) + np.eye(3) / 2, output_dir=str(tmp_path / "o"))
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(label_file)}
    evaluator.process([record], [{"sem_seg_labels": torch.tensor([[0, 0, 2], [2, 0, 1]])}])
    results = evaluator.evaluate()
    assert list(results) == ["sem_seg", "sem_seg_open"]
    assert results["sem_seg_open"]["mIoU"] > results["sem_seg"]["mIoU"]
    header = (tmp_path / "o/sem_seg_evaluation.csv").read_text().splitlines()[0]
    assert header == "index,class,seen,IoU,BoundaryIoU,ACC,open IoU,open ACC,pixels"
