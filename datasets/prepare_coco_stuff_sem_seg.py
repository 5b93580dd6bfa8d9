#!/usr/bin/env python3
"""Make the label maps of COCO-Stuff, 171 classes.

coco/stuffthingmaps/{train,val}2017/*.png (of stuffthingmaps_trainval2017.zip)
become coco/stuffthingmaps_detectron2/{train,val}2017/*.png (class 0 to 170, 255: nothing).
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.coco import prepare_stuff
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare_stuff)
