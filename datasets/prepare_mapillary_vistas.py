#!/usr/bin/env python3
"""Check the validation set of Mapillary Vistas v1.2.

mapillary_vistas/validation/{images,labels,panoptic} are used as they are; panoptic_2018.json is copied
from validation/panoptic to validation if it is only there.
From the archive of v2.0, what validation/v1.2 holds is copied.
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.mapillary import prepare
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare)
