#!/usr/bin/env python3
"""Make training ids and panoptic annotations of Cityscapes (fine).

cityscapes/gtFine/{train,val}/<city>/*_gtFine_{labelIds,instanceIds}.png (instanceIds are enough)
become *_gtFine_labelTrainIds.png beside them, and cityscapes/gtFine/cityscapes_panoptic_{train,val} with .json.
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.cityscapes import prepare
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare)
