#!/usr/bin/env python3
"""Make the instance annotations of ADE20K, 100 classes.

ADEChallengeData2016/{images,annotations_instance}/{training,validation}
become ADEChallengeData2016/ade20k_instance_{train,val}.json.
Finished files are skipped, and all are checked at the end.
"""

from maskclippp.data.preparation.ade20k import prepare_instance
from maskclippp.data.preparation.options import run

if __name__ == "__main__":
    run(__doc__, prepare_instance)
