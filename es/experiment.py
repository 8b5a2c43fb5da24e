"""Train by OpenAI-ES: ``python es/experiment.py with lander lr=0.1``.

Every option is a key (``print_config`` lists them with their defaults), every named config sets
some (``print_named_configs`` explains them). A run keeps all it did in ``runs/<id>``:
``with resume=<id>`` goes on with it to the bit, ``with walk load_from=<id>`` begins anew from its
parameters, ``python env/render.py <id>`` shows it.

``tool=CMA`` and the like search by Nevergrad, for which ``nevergrad_es/experiment.py`` has
settings of its own.
"""

from __future__ import annotations

import sys

from tracking.usage import answer

if __name__ == "__main__":
    answer(sys.argv, __doc__ or "")
    from training.command import Command  # Sacred and all: a second, which help need not take

    sys.exit(Command("es", __doc__ or "").run(sys.argv))
