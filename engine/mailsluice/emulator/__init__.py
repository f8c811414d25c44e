"""An SES v2 endpoint on loopback: quota, faults, and a ledger of everything it accepted.

>>> from mailsluice.emulator import Emulator, EmulatorOptions

`server` takes connections (`http`), `service` judges requests (`submission`, `shapes`,
`signature`, `faults`, `account`, `resources`), writes the `ledger` and publishes `events`.
`running`, `process` and `pytest_plugin` start one. It stands for SES, so it shares no code with
the engine except the model's errors, limits and complaints. Start with `service`.

Names are loaded when they are first used, because the pytest plugin is imported in every test run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailsluice.emulator.account import Account as Account
    from mailsluice.emulator.account import AccountSettings as AccountSettings
    from mailsluice.emulator.events.script import Lag as Lag
    from mailsluice.emulator.events.script import Rule as EventRule
    from mailsluice.emulator.events.script import Script as EventScript
    from mailsluice.emulator.events.script import load as load_events
    from mailsluice.emulator.faults import CallFault as CallFault
    from mailsluice.emulator.faults import EntryFault as EntryFault
    from mailsluice.emulator.faults import Faults as Faults
    from mailsluice.emulator.faults import Script as Script
    from mailsluice.emulator.faults import load as load_faults
    from mailsluice.emulator.ledger import Accepted as Accepted
    from mailsluice.emulator.ledger import Ledger as Ledger
    from mailsluice.emulator.options import EmulatorOptions as EmulatorOptions
    from mailsluice.emulator.options import Latency as Latency
    from mailsluice.emulator.process import EmulatorProcess as EmulatorProcess
    from mailsluice.emulator.process import emulator_process as emulator_process
    from mailsluice.emulator.resources import ConfigurationSet as ConfigurationSet
    from mailsluice.emulator.resources import EventDestination as EventDestination
    from mailsluice.emulator.resources import Identity as Identity
    from mailsluice.emulator.resources import Recommendation as Recommendation
    from mailsluice.emulator.resources import Resources as Resources
    from mailsluice.emulator.resources import Tenant as Tenant
    from mailsluice.emulator.resources import load as load_resources
    from mailsluice.emulator.running import emulator_thread as emulator_thread
    from mailsluice.emulator.running import serve as serve
    from mailsluice.emulator.server import Emulator as Emulator
    from mailsluice.emulator.server import EmulatorStatistics as EmulatorStatistics
    from mailsluice.emulator.signature import Credentials as Credentials
    from mailsluice.emulator.templates import Template as Template

_HOMES = {
    "Accepted": ("ledger", "Accepted"),
    "Account": ("account", "Account"),
    "AccountSettings": ("account", "AccountSettings"),
    "CallFault": ("faults", "CallFault"),
    "ConfigurationSet": ("resources", "ConfigurationSet"),
    "Credentials": ("signature", "Credentials"),
    "Emulator": ("server", "Emulator"),
    "EmulatorOptions": ("options", "EmulatorOptions"),
    "EmulatorProcess": ("process", "EmulatorProcess"),
    "EmulatorStatistics": ("server", "EmulatorStatistics"),
    "EntryFault": ("faults", "EntryFault"),
    "EventDestination": ("resources", "EventDestination"),
    "EventRule": ("events.script", "Rule"),
    "EventScript": ("events.script", "Script"),
    "Faults": ("faults", "Faults"),
    "Identity": ("resources", "Identity"),
    "Lag": ("events.script", "Lag"),
    "Latency": ("options", "Latency"),
    "Ledger": ("ledger", "Ledger"),
    "Recommendation": ("resources", "Recommendation"),
    "Resources": ("resources", "Resources"),
    "Script": ("faults", "Script"),
    "Template": ("templates", "Template"),
    "Tenant": ("resources", "Tenant"),
    "emulator_process": ("process", "emulator_process"),
    "emulator_thread": ("running", "emulator_thread"),
    "load_events": ("events.script", "load"),
    "load_faults": ("faults", "load"),
    "load_resources": ("resources", "load"),
    "serve": ("running", "serve"),
}

__all__ = (
    "Accepted",
    "Account",
    "AccountSettings",
    "CallFault",
    "ConfigurationSet",
    "Credentials",
    "Emulator",
    "EmulatorOptions",
    "EmulatorProcess",
    "EmulatorStatistics",
    "EntryFault",
    "EventDestination",
    "EventRule",
    "EventScript",
    "Faults",
    "Identity",
    "Lag",
    "Latency",
    "Ledger",
    "Recommendation",
    "Resources",
    "Script",
    "Template",
    "Tenant",
    "emulator_process",
    "emulator_thread",
    "load_events",
    "load_faults",
    "load_resources",
    "serve",
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
