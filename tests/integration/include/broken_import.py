"""A user's module that lacks a package."""

import no_such_package  # type: ignore[import-not-found]  # noqa: F401
