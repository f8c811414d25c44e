"""Read settings from a TOML file, the environment and flags; check each key by name.

A flag wins over the environment, the environment over the file, the file over the defaults. Keys
are those of the README: `quota.rate` is `[quota] rate`, `MAILSLUICE_QUOTA__RATE` and
`--set quota.rate=…`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from mailsluice.config.settings import NESTED, PREFIX, FromTables, MailingFile, Settings
from mailsluice.config.worker import WorkerSettings
from mailsluice.mailing.mailing import Content, Mailing
from mailsluice.model.complaints import complaints, keys_of, model_in, suggestion
from mailsluice.model.errors import ConfigurationError
from mailsluice.sources import reading
from mailsluice.suppression import links

logger = logging.getLogger(__name__)

FILE_BYTES_MAX = 8 * 1024 * 1024
"""Longest settings file: several times a mailing file with an inline template of 1 MB."""

_is_service_link = re.compile(
    r"MAILSLUICE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_\w+)?)"
).fullmatch
"""Matches variables that Kubernetes sets in each container for a service named mailsluice or
mailsluice-x (Kubernetes, "Accessing the Service": environment variables)."""


def load(
    path: Path, overrides: Iterable[str] = (), *, within: Path | None = None
) -> tuple[Mailing, Settings]:
    """Read a mailing file. `overrides` are `key=value` with dotted keys, as `--set` takes them.

    `within`: a folder in which the file, and all attachments that it names, must lie. Raises
    ConfigurationError that names the file, flag or variable, the key and the remedy.
    """
    layers = _Layers(path, overrides, within)
    file = layers.validated(MailingFile)
    try:
        context = {"folder": path.parent, "within": within}
        mailing = Mailing.model_validate(file.mailing, context=context)
    except ValidationError as error:
        raise layers.refused(error, Mailing, "mailing") from error
    if file.unsubscribe is not None:
        mailing = _with_link(mailing, file, layers, within)
    tables = {name: getattr(file, name) for name in Settings.model_fields}
    tables |= _beside(file, path.parent)
    return mailing, Settings.model_construct(**tables)


def _with_link(
    mailing: Mailing, file: MailingFile, layers: _Layers, within: Path | None
) -> Mailing:
    """Give the mailing an example of the link that each recipient's own one will replace.

    So whoever looks at the mailing alone (checks, previews) knows its variable and its headers.
    """
    assert file.unsubscribe is not None
    if file.suppression is None and within is None:  # a worker has a store of its own
        raise layers.wrong(
            ("unsubscribe", "url"), "it needs a [suppression] table: its store has the links' key"
        )
    if any(name.lower() == links.LINK_HEADER for name in mailing.headers):
        raise layers.wrong(
            ("unsubscribe", "url"), "[mailing] headers has List-Unsubscribe, too; leave one out"
        )
    url = file.unsubscribe.url.replace(links.PLACE, links.EXAMPLE)
    data = {links.VARIABLE: url, **mailing.data}
    headers = {**links.headers(url), **mailing.headers}
    return mailing.model_copy(update={"data": data, "headers": headers})


def load_worker(path: Path, overrides: Iterable[str] = ()) -> WorkerSettings:
    """Read a worker's file. Raises ConfigurationError as `load` does."""
    layers = _Layers(path, overrides)
    settings = layers.validated(WorkerSettings)
    feedback, queue = settings.feedback, settings.queue
    if feedback is not None and queue is not None and queue.url == feedback.queue:
        raise layers.wrong(
            ("feedback", "queue"), "it is [queue] url, too; SES's events need a queue of their own"
        )
    if settings.http.unsubscribe and settings.suppression is None:
        raise layers.wrong(
            ("http", "unsubscribe"), "it needs a [suppression] table: where to record who it was"
        )
    return settings.model_copy(update=_beside(settings, path.parent))


def load_suppression(path: Path) -> Settings:
    """Read the settings of a mailing's or a worker's file. Raises ConfigurationError as `load`."""
    layers = _Layers(path, ())
    settings = layers.validated(WorkerSettings if layers.has("folder") else MailingFile)
    return settings.model_copy(update=_beside(settings, path.parent))


def _beside(settings: Settings, folder: Path) -> dict[str, Any]:
    """Return the tables that name files, with paths relative to this folder."""
    return {
        "feedback": settings.feedback and settings.feedback.beside(folder),
        "suppression": settings.suppression and settings.suppression.beside(folder),
    }


Tables = TypeVar("Tables", bound=FromTables)


class _Layers:
    """A file under the environment under flags; knows which of them a wrong key came from."""

    def __init__(self, path: Path, overrides: Iterable[str], within: Path | None = None) -> None:
        self._path = path
        self._variables = _variables(os.environ)
        self._flags = _flags(overrides)
        self._file = _read(path, within)

    def has(self, table: str) -> bool:
        """Return True if the file has this table."""
        return table in self._file

    def validated(self, kind: type[Tables]) -> Tables:
        """Merge the layers. Raises ConfigurationError."""
        given: dict[str, Any] = {"tables": self._file, **self._flags}
        try:
            return kind(**given)
        except ValidationError as error:
            raise self.refused(error, kind) from error
        except SettingsError as error:
            raise self._no_json(error) from error

    def _no_json(self, error: SettingsError) -> ConfigurationError:
        """Name the variables that are not JSON; pydantic-settings names only their table."""
        table = PREFIX + str(error).partition('field "')[2].partition('"')[0].upper()
        suspects = [
            name
            for name, text in self._variables.items()
            if name.partition(NESTED)[0] == table and not _is_json(text)
        ]
        return ConfigurationError(
            f"environment: {' or '.join(suspects)}: it is not JSON; write a table as "
            '{"key": "value"}, or set a variable for each key'
        )

    def wrong(self, place: tuple[str, ...], text: str) -> ConfigurationError:
        """Return the error to raise for the value at a place."""
        return ConfigurationError(self._blamed(place, text))

    def refused(
        self, error: ValidationError, model: type[BaseModel], *tables: str
    ) -> ConfigurationError:
        """Return the error for what pydantic refused in a `model`; `tables` lead to its table."""
        fields = WorkerSettings if model is WorkerSettings else MailingFile
        found = complaints(error, model, _homes(fields.model_fields))
        return ConfigurationError(
            "\n".join(self._blamed((*tables, *each.place), each.text) for each in found)
        )

    def _blamed(self, place: tuple[str, ...], text: str) -> str:
        if (flag := _deepest(self._flags, place)) is not None:
            return f"--set {'.'.join(flag)}: {text}"
        for depth in range(len(place), 0, -1):
            name = PREFIX + NESTED.join(place[:depth]).upper()
            if name in self._variables:
                inner = "".join(f" {part}" for part in place[depth:])
                return f"environment: {name}{inner}: {text}"
        table, *rest = place or ("",)
        where = f"[{table}] {'.'.join(rest)}".rstrip()
        return f"{self._path}: {where}: {text}"


def _deepest(tree: Mapping[str, Any], place: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the flag that set a key; None if no flag did."""
    value: Any = tree
    for depth, name in enumerate(place):
        if not isinstance(value, dict) or name not in value:
            return place[:depth] if depth and not isinstance(value, dict) else None
        value = value[name]
    return place


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return our variables that are set, by upper-case names. Raises ConfigurationError.

    A misspelt one would otherwise be ignored silently. An empty one counts as not set.
    """
    ours = {
        name.upper(): text
        for name, text in environment.items()
        if text and name.upper().startswith(PREFIX)
    }
    tables = {**MailingFile.model_fields, **WorkerSettings.model_fields}
    for name in sorted(ours):
        table = name.removeprefix(PREFIX).partition(NESTED)[0].lower()
        if table in tables:
            continue
        if _is_service_link(name):
            logger.warning("environment: %s: ignored, as a service link of Kubernetes", name)
            continue
        known = [PREFIX + NESTED.join(place).upper() for place in _places(tables)]
        raise ConfigurationError(f"environment: {name}: unknown table{suggestion(name, known)}")
    return ours


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _places(tables: Mapping[str, FieldInfo]) -> Iterator[tuple[str, ...]]:
    for table, field in tables.items():
        yield (table,)
        keys = keys_of(Mailing) if table == "mailing" else keys_of(model_in(field.annotation))
        yield from ((table, key) for key in keys)


def _homes(tables: Mapping[str, FieldInfo]) -> Mapping[str, list[str]]:
    """Return each key with the tables that have it."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    places = list(_places(tables))
    if "mailing" in tables:
        places += [("mailing", "content", key) for key in keys_of(Content)]
    for *table, key in places:
        if table:
            homes[key].append(f"[{'.'.join(table)}]")
    return homes


_TOML_HINTS = (
    ("Illegal character", "a quote is opened there and not closed"),
    ("Unescaped '\\'", "write \\\\ for each \\, or put the text into single quotes"),
    ("Invalid value", 'text stands in straight double quotes, as in key = "text"'),
    ("Expected '='", 'write key = "value"'),
    (") twice", "put the keys of both tables into one"),
    ("Cannot overwrite", "the key is there already"),
)

_NOT_TOML = "name a .toml file here; a list of recipients goes to --recipients"


def _read(path: Path, within: Path | None) -> dict[str, Any]:
    try:
        text = reading.read(path, FILE_BYTES_MAX, within).decode("utf-8-sig")
        # Numbers stay as written: `price = 19.90` is no 19.9 in a mail.
        return tomllib.loads(text, parse_float=Decimal)
    except FileNotFoundError:
        meant = path.with_suffix(".toml")
        hint = f"; did you mean {meant}?" if meant != path and meant.is_file() else ""
        raise ConfigurationError(f"{path}: there is no such file{hint}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 ({error.reason})") from error
    except (ValueError, RecursionError) as error:  # also of numbers and nesting without end
        hints = [hint for mark, hint in _TOML_HINTS if mark in str(error)]
        if path.suffix != ".toml":
            hints = [_NOT_TOML]
        hint = "".join(f"; {hint}" for hint in hints)
        raise ConfigurationError(f"{path}: invalid TOML: {error}{hint}") from error


def _flags(overrides: Iterable[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        *tables, name = key.strip().split(".")
        if not equals or not tables or not name:
            raise ConfigurationError(
                f"--set {override}: write it as table.key=value, as in --set quota.rate=50"
            )
        table = tree
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigurationError(f"--set {override}: {part} is a value, not a table")
        table[name] = _value(text)
    return tree


def _value(text: str) -> Any:
    """Parse a flag's value: TOML if it is TOML (50, true, ["a"]), otherwise the text itself."""
    try:
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    except (ValueError, RecursionError):
        return text
