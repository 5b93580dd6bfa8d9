"""What is known of one dataset split: where its files are, which vocabulary it uses, how it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..vocabularies import Vocabulary


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """One dataset split.

    Attributes:
        name: registered name.
        kind: what its records hold: label maps, panoptic segments (with label maps where they exist), instances (of
            a COCO or an LVIS file), or pictures only.
        vocabulary: shipped vocabulary, in the contiguous order of the label maps; or ``mess:<module>:<constant>``.
        evaluator_type: selects the evaluators.
        image_root: folder of the pictures.
        sem_seg_root: folder of the label maps.
        panoptic_root: folder of the panoptic PNGs.
        panoptic_json: COCO panoptic file.
        instances_json: COCO instance file; ground truth of instance evaluation.
        preparation: command that makes the files from the official downloads; "" if these are read as they are.
        ignore_label: value of unlabelled pixels.
        image_ext: suffix of the pictures of a semantic dataset.
        label_ext: suffix of the label maps of a semantic dataset.
        image_pattern: picture of a panoptic annotation below ``image_root``, where the panoptic file does not tell it;
            ``{id}`` is the image id, ``{folder}`` the part of the id before the first underscore.
        sem_seg_pattern: likewise for the label map below ``sem_seg_root``; "": it has the name of the picture.
        all_are_things: list every class in ``thing_classes``, as the published Cityscapes and Mapillary sets do.
        stuff_ids_of_stuff_only: the map of stuff ids leaves out the things, as for Cityscapes; elsewhere it holds
            every class.
        labels_are_ids: the id map of the metadata is the identity, as label maps and published metadata of COCO-Stuff
            count the classes; elsewhere it leads from the ids of the vocabulary to contiguous ones.
        colors: published colours: "coco", "cityscapes" (detectron2's tables), "voc21" (black background); others get
            generated ones.
        num_images: pictures of the published set, 0 if not known.
        num_left_out: how many of these the published preparation leaves out, where some preparations do not.
        domain: domain of the MESS benchmark ("" for other sets).
        background_class: class of the benchmark that stands for everything else; 255: none.
        classes_of_interest: classes that the benchmark looks at; by default all but that one.
        classes: the classes themselves, where ``vocabulary`` is no name of a vocabulary.
        described_in: the file that describes a dataset of one's own.
    """

    name: str
    kind: Literal["sem_seg", "panoptic", "instance", "lvis", "images"]
    vocabulary: str
    evaluator_type: str
    image_root: str
    sem_seg_root: str = ""
    panoptic_root: str = ""
    panoptic_json: str = ""
    instances_json: str = ""
    ignore_label: int = 255
    image_ext: str = "jpg"
    label_ext: str = "png"
    image_pattern: str = ""
    sem_seg_pattern: str = ""
    all_are_things: bool = False
    stuff_ids_of_stuff_only: bool = False
    labels_are_ids: bool = False
    colors: str = ""
    preparation: str = ""
    num_images: int = 0
    num_left_out: int = 0
    domain: str = ""
    background_class: int = 255
    classes_of_interest: tuple[int, ...] = ()
    classes: Vocabulary | None = None
    described_in: str = ""

    @property
    def remedy(self) -> str:
        """What to do where files are missing."""
        if self.described_in:
            return f"check {self.described_in}"
        make = f"make it with `{self.preparation}`" if self.preparation else "download it (see datasets/README.md)"
        return f"{make}, or set DETECTRON2_DATASETS to the folder that holds the datasets"
