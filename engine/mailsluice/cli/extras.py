"""Packages that a command needs and the library does not: extras of the distribution."""

from __future__ import annotations

from importlib.util import find_spec

from mailsluice.model.errors import ConfigurationError

MODULES = {"cli": ("rich", "typer"), "worker": ("prometheus_client", "pythonjsonlogger")}
"""Modules by the extra that installs them (pyproject.toml)."""


def require(extra: str) -> None:
    """Raise ConfigurationError with the remedy if a module of that extra is not installed."""
    missing = [name for name in MODULES[extra] if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"this command needs {' and '.join(missing)}, which a library does not: "
            f"pip install 'mailsluice[{extra}]'"
        )
