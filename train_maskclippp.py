#!/usr/bin/env python
"""Train or evaluate with a config file: ``python train_maskclippp.py --config-file F --num-gpus N --tag T``."""

from maskclippp.engine.main import main

if __name__ == "__main__":
    raise SystemExit(main())
