#!/usr/bin/env python3
"""Make the label maps of ADE20K, 150 classes.

ADEChallengeData2016/annotations/{training,validation}/*.png
become ADEChallengeData2016/annotations_detectron2/{training,validation}/*.png (class 0 to 149, 255: nothing).
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.ade20k import prepare_semantic
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare_semantic)
