"""Train by CMA-ES, or by any other optimiser of Nevergrad's, on Ray:
``python nevergrad_es/experiment.py with lander tool=TwoPointsDE``.

Every option is a key (``print_config`` lists them with their defaults), every named config sets
some (``print_named_configs`` explains them). ``pool=redis`` evaluates on the fleet that
``es/experiment.py`` uses, ``pool=serial`` in this process, ``ray_address=auto`` on a Ray cluster
that runs already. A run keeps all it did in ``runs/<id>``: ``with resume=<id>`` goes on with it to
the bit, ``python env/render.py <id>`` shows it.
"""

from __future__ import annotations

import sys

from nevergrad_es.configs import DEFAULTS, NAMED_CONFIGS
from tracking.usage import answer

if __name__ == "__main__":
    answer(sys.argv, __doc__ or "")
    from training.command import Command  # Sacred and all: a second, which help need not take

    command = Command("nevergrad_es", __doc__ or "", changed=DEFAULTS, named_configs=NAMED_CONFIGS)
    sys.exit(command.run(sys.argv))
