#!/usr/bin/env python3
"""Make label maps of COCO 2017 from its panoptic annotations.

coco/annotations/panoptic_{train,val}2017.json and coco/panoptic_{train,val}2017/*.png
become coco/panoptic_semseg_{train,val}2017/*.png (class 0 to 132, 255: nothing).
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.coco import prepare_semantic_from_panoptic
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare_semantic_from_panoptic)
