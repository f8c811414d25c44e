"""Templates and data drawn at random: of the documented subset, and beyond it.

The documented subset is what the SES developer guide ("Advanced email personalization") and the
page of Handlebars' built-in helpers that it names have: paths, `#each`, `#if`, `#unless`, `#with`,
`else`, `else if`, `this`, `..`, `@index` and its like, `as |name|`, inline partials, comments, `~`,
and tags on lines of their own. Values are texts. A name may be missing or null anywhere, but the
objects that a block's condition leads through are there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, NamedTuple, TypeAlias

TEXTS = (
    "",
    " ",
    "\n",
    "  \n",
    "\n  ",
    "\r\n",
    "\t",
    "Dear ",
    ", ",
    "50 % off: %s",
    "a\n\n b",
    "<b>",
)
MORE_TEXTS = ("é✓", " { ", " } ", "\u00a0", "\ufeff\n", "\x85", "\n\x1f", '"', "~")
BRACES = ("{", "}", "\\", "\\\\")
VALUES = ("Ann", "", " ", "<i>&", "{{name}}", "0", "ß\n", "%s")
NAMES = ("name", "city", "plan", "first_name", "a1", "n-b", "Größe")
OBJECTS = ("order", "contact", "meta")
LISTS = ("items", "friends")
WORDS = ("tags", "words")
TYPOS = ("nmae", "City", "absent")
RUBBISH = (
    "{{", "}}", "{{{", "}}}", "{{}}", "{{/if}}", "{{else}}", "{{#if}}", "{{#if name}}",
    "{{#name}}", "{{/name}}", "{{foo bar}}", "{{name x=1}}", "{{lookup this 'name'}}",
    "{{(name)}}", "{{> absent}}", "{{> (absent)}}", "{{#> part}}", "{{/part}}", "{{{{raw}}}}",
    "{{{{/raw}}}}", "{{name}}}", "{{@root}}", "{{@key}}", "{{items.length}}", "{{items.0.name}}",
    "{{items.[1].name}}", "{{items.00}}", "{{name.x}}", "{{../../../name}}", "{{order/name}}",
    "{{order.this}}", "{{this.name}}", "{{./name}}", "{{ name . }}", "{{[name]}}", '{{"name"}}',
    "{{1}}", "{{true}}", "{{if}}", "{{#each}}", "{{/each}}", "{{#IF name}}", "{{/IF}}",
    "{{^if name}}", "{{^}}", "{{else if city}}", "{{elseif}}", "{{&name}}", "{{{name}}}",
    "\\{{name}}", "\\\\{{name}}", "{{!-- {{name}} --}}", "{{! }}", "{{!--}}", "{{* x}}",
    "{{#*inline name}}", "{{/inline}}", "{{#if items.length}}", "{{#with name as |n|}}", "{{n}}",
    "{{/with}}", "{{n.x}}", "{{~", "{{#each items as |i k|}}", "{{i.name}}", "{{k}}",
    "{{@../index}}", "{{#if @last}}", "{{@last}}",
)  # fmt: skip
"""Tags that stand anywhere, when templates are drawn from beyond the subset."""


class Case(NamedTuple):
    """A template with a row's data."""

    template: str
    data: dict[str, Any]


Draw: TypeAlias = Callable[[Random], Case]


@dataclass(frozen=True, slots=True)
class Shape:
    """What an object may hold, by name."""

    names: tuple[str, ...] = ()
    objects: dict[str, Shape] = field(default_factory=dict)
    lists: dict[str, Shape] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    is_pinned: bool = True
    """False of an object that may be missing; then no condition leads through it."""


@dataclass(frozen=True, slots=True)
class Here:
    """Where in a template a tag is drawn."""

    shapes: tuple[Shape | None, ...]
    """Of the data of each block around, innermost last; None of a text."""
    partials: tuple[str, ...] = ()
    parameters: tuple[tuple[str, Shape | None], ...] = ()
    is_in_loop: bool = False
    depth: int = 0
    is_in_partial: bool = False
    """Then its data may be any object's."""


def documented(random: Random) -> Case:
    """Draw a case of the documented subset."""
    return _Drawer(random).case()


def beyond(random: Random) -> Case:
    """Draw a case that may have anything in it."""
    return _Drawer(random, is_beyond=True).case()


class _Drawer:
    def __init__(self, random: Random, *, is_beyond: bool = False) -> None:
        self._random = random
        self._is_beyond = is_beyond
        self._texts: tuple[str, ...] = TEXTS if random.random() < 0.7 else TEXTS + MORE_TEXTS
        if is_beyond and random.random() < 0.1:
            self._texts += BRACES

    def case(self) -> Case:
        shape = self._shape(2)
        parts = [self._partial(shape, name) for name in ("part", "a/b") if self._chance(0.25)]
        partials = tuple(name for name, _ in parts)
        body = self._body(Here((shape,), partials))
        return Case("".join(text for _, text in parts) + body, self._object(shape))

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _some(self, names: tuple[str, ...], most: int) -> tuple[str, ...]:
        return tuple(self._random.sample(names, self._random.randint(0, most)))

    def _shape(self, depth: int) -> Shape:
        return Shape(
            names=("name", *self._some(NAMES[1:], 4)),
            objects={each: self._shape(depth - 1) for each in self._some(OBJECTS, 2)}
            if depth
            else {},
            lists={each: self._shape(depth - 1) for each in self._some(LISTS, 2)} if depth else {},
            words=self._some(WORDS, 1),
            is_pinned=self._chance(0.6) and not self._is_beyond,
        )

    # --- data ------------------------------------------------------------------------------------

    def _object(self, shape: Shape) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name in shape.names:
            self._put(members, name, self._value(), can_lack=True)
        for name, inner in shape.objects.items():
            self._put(members, name, self._object(inner), can_lack=not inner.is_pinned)
        for name, inner in shape.lists.items():
            items = [self._item(inner) for _ in range(self._random.choice((0, 1, 1, 2, 3)))]
            self._put(members, name, items, can_lack=True)
        for name in shape.words:
            words = [self._value() for _ in range(self._random.randint(0, 3))]
            self._put(members, name, words, can_lack=True)
        return members

    def _put(self, members: dict[str, Any], name: str, value: Any, *, can_lack: bool) -> None:
        drawn = self._random.random() if can_lack else 1.0
        if drawn >= 0.03:
            odd = self._is_beyond and self._chance(0.03)
            members[name] = (
                self._random.choice(("", "text", True, False, 0, 7, {})) if odd else value
            )
            if drawn < 0.05:
                members[name] = None

    def _item(self, shape: Shape) -> Any:
        if self._is_beyond and self._chance(0.05):
            return self._random.choice((None, "text", [], {}))
        return self._object(shape)

    def _value(self) -> Any:
        return self._random.choice(VALUES)

    # --- templates -------------------------------------------------------------------------------

    def _body(self, here: Here) -> str:
        count = self._random.randint(1, 5 if here.depth < 2 else 3)
        return "".join(self._text() + self._tag(here) for _ in range(count)) + self._text()

    def _text(self) -> str:
        return "".join(self._random.choices(self._texts, k=self._random.randint(0, 2)))

    def _tag(self, here: Here) -> str:
        if self._is_beyond and self._chance(0.06):
            return self._random.choice(RUBBISH)
        kinds = ["print"] * 5 + ["comment"]
        kinds += ["if", "each", "with"] * (here.depth < 3)
        kinds += ["partial"] * bool(here.partials)
        match self._random.choice(kinds):
            case "print":
                return self._print(here)
            case "comment":
                return self._strip(
                    self._random.choice(("{{! note }}", "{{!-- a }} b --}}", "{{!}}"))
                )
            case "partial":
                return self._strip(f"{{{{> {self._random.choice(here.partials)}}}}}")
            case "if":
                return self._if(here)
            case block:
                return self._block_with_data(here, block)

    def _strip(self, tag: str) -> str:
        """Put `~` into a tag, rarely."""
        if self._chance(0.08):
            tag = "{{~" + tag[2:]
        if self._chance(0.08):
            tag = tag[:-2] + "~}}"
        return tag

    def _braced(self, text: str) -> str:
        space = " " if self._chance(0.1) else ""
        return self._strip(f"{{{{{text}{space}}}}}")

    def _print(self, here: Here) -> str:
        if here.is_in_loop and self._chance(0.2):
            name = self._random.choice(("@index", "@key", "@first", "@last"))
            return self._braced(name)
        path = self._path(here)
        if self._chance(0.05):
            return f"{{{{{{{path}}}}}}}"
        return self._braced(f"&{path}" if self._chance(0.02) else path)

    def _path(self, here: Here) -> str:
        """Draw the path of a text, or of something that may be missing."""
        if here.parameters and self._chance(0.4):
            parameter, shape = self._random.choice(here.parameters)
            return parameter if shape is None else f"{parameter}.{self._name(shape)}"
        up = self._random.randint(1, len(here.shapes) - 1) if self._ups(here) else 0
        shape = here.shapes[-1 - up]
        before = "../" * up
        if shape is None:
            return f"{before.removesuffix('/')}" if up else self._random.choice(("this", "."))
        if shape.objects and self._chance(0.3):
            name = self._random.choice(list(shape.objects))
            return f"{before}{name}.{self._name(shape.objects[name])}"
        if not up and self._chance(0.1):
            before = self._random.choice(("this.", "./", "@root."))
            shape = here.shapes[0] if before == "@root." else shape
            assert shape is not None
        return f"{before}{self._name(shape)}"

    def _ups(self, here: Here) -> bool:
        return len(here.shapes) > 1 and self._chance(0.2)

    def _name(self, shape: Shape) -> str:
        if self._chance(0.02):
            return self._random.choice(TYPOS)
        name = self._random.choice(shape.names)
        return f"[{name}]" if self._chance(0.05) else name

    def _condition(self, here: Here) -> str:
        shape = here.shapes[-1]
        if shape is None:
            return self._random.choice(("this", ".", "../name"))
        if here.is_in_loop and self._chance(0.1):
            return self._random.choice(("@first", "@last", "@index"))
        if here.is_in_partial:
            return self._random.choice((*shape.names, *shape.objects, *shape.lists, "absent"))
        pinned = [
            name for name, inner in shape.objects.items() if inner.is_pinned or self._is_beyond
        ]
        if pinned and self._chance(0.3):
            name = self._random.choice(pinned)
            return f"{name}.{self._random.choice((*shape.objects[name].names, 'absent'))}"
        return self._random.choice(
            (*shape.names, *shape.objects, *shape.lists, *shape.words, "absent")
        )

    def _if(self, here: Here) -> str:
        inner = self._deeper(here)
        name = self._random.choice(("if", "if", "unless"))
        text = self._braced(f"#{name} {self._condition(here)}") + self._body(inner)
        while self._chance(0.2):
            text += self._braced(f"else if {self._condition(here)}") + self._body(inner)
        if self._chance(0.4):
            text += self._braced("else") + self._body(inner)
        return text + self._braced(f"/{name}")

    def _block_with_data(self, here: Here, block: str) -> str:
        shape = here.shapes[-1]
        if shape is None:
            return self._print(here)
        within: dict[str, Shape | None] = {**shape.objects}
        if block == "each":
            within |= {**shape.lists, **dict.fromkeys(shape.words)}
            within = {each: inner for each, inner in within.items() if each not in shape.objects}
        if not within:
            return self._print(here)
        name = self._random.choice(list(within))
        inner = self._deeper(here, within[name], is_loop=block == "each")
        named = ""
        if self._chance(0.15):
            parameter = f"it{here.depth}"
            named = f" as |{parameter}|"
            parameters = (*inner.parameters, (parameter, within[name]))
            inner = replace(inner, parameters=parameters)
        text = self._braced(f"#{block} {name}{named}") + self._body(inner)
        if self._chance(0.3):
            text += self._braced("else") + self._body(self._deeper(here))
        return text + self._braced(f"/{block}")

    def _partial(self, shape: Shape, name: str) -> tuple[str, str]:
        body = self._body(Here((shape,), depth=2, is_in_partial=True))
        text = self._strip(f'{{{{#* inline "{name}"}}}}') + body + self._strip("{{/inline}}")
        return name, text + self._random.choice(("", "\n"))

    def _deeper(self, here: Here, *shape: Shape | None, is_loop: bool = False) -> Here:
        return replace(
            here,
            shapes=(*here.shapes, *shape),
            is_in_loop=here.is_in_loop or is_loop,
            depth=here.depth + 1,
        )
