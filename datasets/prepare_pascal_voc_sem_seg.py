#!/usr/bin/env python3
"""Make pictures and label maps of PASCAL VOC 2012, 20 and 21 classes.

VOCdevkit/VOC2012/{JPEGImages,SegmentationClass} and ImageSets/Segmentation/{train,val}.txt (one of them is enough)
become pascal_voc_d2/{images,annotations_pascal20,annotations_pascal21}/{training,validation}.
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.options import run
from maskclippp.data.preparation.pascal import prepare_voc

if __name__ == "__main__":
    run(__doc__, prepare_voc)
