"""What ``es/head.py`` and ``es/worker.py`` do; their options stay with them."""
