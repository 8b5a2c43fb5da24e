"""What ``cluster/launch.py`` and ``cluster/manage.py`` are made of."""
