#!/usr/bin/env python3
"""Make the instance files of the 48 base and 17 novel classes of COCO, and of both together.

coco/annotations/instances_{train,val}2017.json
become coco/annotations/ov_split_48_17/instances_{train,val}2017_{seen48,unseen17,instances65}.json.
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.coco import prepare_class_splits
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare_class_splits)
