#!/usr/bin/env python3
"""Make pictures and label maps of ADE20K full, 847 classes.

ADE20K_2021_17_01/index_ade20k.pkl and the pictures that it lists, or all below images/ADE if there is no index,
become ADE20K_2021_17_01/{images_detectron2,annotations_detectron2}/{training,validation}; the shorter side has at
most 512 pixels.
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.ade20k_full import prepare
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare)
