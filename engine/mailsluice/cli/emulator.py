"""`mailsluice emulator`: an SES v2 endpoint on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mailsluice.emulator import EmulatorOptions


def emulator(  # noqa: PLR0913, PLR0917  # one parameter a flag
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one.")] = 0,
    rate: Annotated[float, typer.Option(help="MaxSendRate, recipients per second.")] = 14.0,
    daily: Annotated[
        float, typer.Option(help="Max24HourSend, recipients; -1: unlimited.")
    ] = 50_000.0,
    latency: Annotated[
        str, typer.Option(help="Seconds until an answer: 0.05, or 0.02-0.3 (evenly drawn).")
    ] = "0",
    faults: Annotated[
        Path | None, typer.Option(help="Script of what goes wrong, TOML or JSON.")
    ] = None,
    resources: Annotated[
        Path | None, typer.Option(help="Identities, configuration sets, tenants, TOML.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="Script of the events that SES publishes, TOML.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Append every accepted entry here, NDJSON.")
    ] = None,
    *,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,  # `emulator_process`
) -> None:
    """Run an SES v2 endpoint on loopback until SIGINT or SIGTERM.

    It prints the environment that an AWS SDK needs to send to it.
    """
    from mailsluice import emulator as emulators
    from mailsluice.cli import runtime
    from mailsluice.emulator.process import serve_child

    if child:
        runtime.run(serve_child())
        return
    options = _options(port, rate, daily, latency, faults, resources, events, ledger)
    statistics = runtime.run(emulators.serve(options, announce=lambda url: _say(options, url)))
    account = statistics.account
    print(
        f"{account.calls:,} calls: {account.accepted:,} recipients accepted, "
        f"{account.throttled:,} throttled, {account.daily_refused:,} over the daily quota"
    )


def _options(  # noqa: PLR0913, PLR0917  # as `emulator`
    port: int,
    rate: float,
    daily: float,
    latency: str,
    faults: Path | None,
    resources: Path | None,
    events: Path | None,
    ledger: Path | None,
) -> EmulatorOptions:
    from pydantic import ValidationError

    from mailsluice import emulator as emulators
    from mailsluice.model.complaints import sentence
    from mailsluice.model.errors import ConfigurationError

    try:
        return emulators.EmulatorOptions(
            port=port,
            account=emulators.AccountSettings(rate_per_s=rate, daily_max=daily),
            latency=emulators.Latency.parse(latency),
            faults=emulators.load_faults(faults) if faults else emulators.Script(),
            resources=(emulators.load_resources(resources) if resources else emulators.Resources()),
            events=emulators.load_events(events) if events else None,
            ledger=ledger,
        )
    except ValidationError as error:
        first = error.errors()[0]
        flag = {"rate_per_s": "rate", "daily_max": "daily"}.get(
            str(first["loc"][0]), first["loc"][0]
        )
        raise ConfigurationError(f"--{flag}: {sentence(first)}") from error
    except ValueError as error:
        raise ConfigurationError(f"--latency: {error}") from error


def _say(options: EmulatorOptions, url: str) -> None:
    from mailsluice.emulator.server import environment

    for name, value in environment(options, url).items():
        print(f"export {name}={value}", flush=True)
