"""A group of commands whose names may also be typed as older systems had them."""

from __future__ import annotations

import click

_OLDER_NAMES = {"size": "resize"}


class CommandGroup(click.Group):
    """Takes ``set-price`` for ``set_price`` too, and shows one of them."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, in today's spelling or the older one."""
        name = cmd_name.replace("-", "_")
        return super().get_command(ctx, _OLDER_NAMES.get(name, name))
