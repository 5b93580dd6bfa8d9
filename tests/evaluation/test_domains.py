"""Means over the datasets of a domain."""

from __future__ import annotations

import math

from maskclippp.evaluation.class_metric import of_class
from maskclippp.evaluation.domains import domain_means

NAN = float("nan")


def scores(value: float) -> dict:
    return {"mask_acc": {"mMaskAcc": value, of_class("MaskAcc", "cat"): 1.0}}


def test_means() -> None:
    results = {
        "a_sem_seg": scores(10),
        "b_sem_seg": scores(20),
        "paxray_sem_seg_test_lungs": scores(30),
        "paxray_sem_seg_test_bones": scores(50),
        "kvasir": scores(60) | {"sem_seg": {"mIoU": 5.0}},
        "elsewhere": scores(99),
        "nothing": scores(NAN),
    }
    domains = {"a_sem_seg": "Earth", "b_sem_seg": "Earth", "nothing": "Earth", "kvasir": "Medical", "elsewhere": ""}
    domains |= {name: "Medical" for name in results if name.startswith("paxray")}
    means = domain_means(results, domains)
    assert means == {
        "Earth": {"mask_acc": {"mMaskAcc": 15}},
        # Both halves of PAXRay are one dataset: (40 + 60) / 2.
        "Medical": {"mask_acc": {"mMaskAcc": 50}, "sem_seg": {"mIoU": 5}},
    }
    assert math.isnan(domain_means({"a": scores(NAN)}, {"a": "Earth"})["Earth"]["mask_acc"]["mMaskAcc"])
    assert domain_means(results, {}) == {}


def test_results_of_incomplete_sets_are_marked() -> None:
    whole, part = {"sem_seg": {"mIoU": 10.0}}, {"partial": {"images": 2.0, "of": 9.0}, "sem_seg": {"mIoU": 30.0}}
    means = domain_means({"a": whole, "b": part, "c": whole}, {"a": "General", "b": "General", "c": "Earth"})
    assert means["General"] == {"sem_seg": {"mIoU": 20.0}, "partial": {"datasets": 1.0}}
    assert means["Earth"] == whole
