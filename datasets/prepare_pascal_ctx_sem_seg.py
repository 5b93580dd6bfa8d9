#!/usr/bin/env python3
"""Make pictures and label maps of PASCAL Context, 59 classes.

VOCdevkit/VOC2010/JPEGImages, trainval/*.mat, and ImageSets/Main/{train,val}.txt or trainval_merged.json
become pascal_ctx_d2/images/{training,validation} and pascal_ctx_d2/annotations_ctx59/{training,validation}.
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.options import run
from maskclippp.data.preparation.pascal import prepare_context_59

if __name__ == "__main__":
    run(__doc__, prepare_context_59)
