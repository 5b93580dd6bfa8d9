#!/usr/bin/env python3
"""Make the panoptic annotations of ADE20K, 150 classes, with the label maps and instances that belong to them.

ADEChallengeData2016/{images,annotations,annotations_instance}/{training,validation}
become ADEChallengeData2016/ade20k_panoptic_{train,val} and ade20k_panoptic_{train,val}.json,
annotations_detectron2/{training,validation} and ade20k_instance_{train,val}.json.
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.ade20k import prepare_panoptic
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare_panoptic)
