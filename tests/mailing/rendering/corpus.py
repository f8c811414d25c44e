"""Templates by hand: every construct that SES documents, and every pitfall that was reported."""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """A template with a row's data, and what it is there for."""

    name: str
    template: str
    data: dict[str, Any]


ANAYA: dict[str, Any] = {
    "meta": {"userId": "51806220607"},
    "contact": {"firstName": "Anaya", "lastName": "Iyengar", "city": "Bengaluru"},
    "subscription": [{"interest": "Sports"}, {"interest": "Travel"}, {"interest": "Cooking"}],
}
"""The recipient of the SES developer guide."""

SHIRLEY: dict[str, Any] = {
    "meta": {"userId": "1981624758263"},
    "contact": {"firstName": "Shirley", "lastName": "Rodriguez"},
    "subscription": [],
}

LIST = """\
<ul>
  {{#each subscription}}
    <li>{{interest}}</li>
  {{/each}}
</ul>
"""
CONDITION = """\
Dear {{contact.firstName}},
{{#if subscription}}
You are interested in:
{{#each subscription}}
  - {{interest}}
{{/each}}
{{else}}
Please update your preferences: https://www.example.com/i.aspx?id={{meta.userId}}.
{{/if}}
"""
FULL_NAME = """\
{{#* inline "fullName"}}
  {{firstName}}{{#if lastName}} {{lastName}}{{/if}}
{{/inline~}}

<h1>Hello {{> fullName}}!</h1>
<ul>
{{#each friends}}
  <li>{{> fullName}}</li>
{{/each}}</ul>
"""
FRIENDS = {
    "firstName": "Anaya",
    "friends": [{"firstName": "Bo", "lastName": "Li"}, {"firstName": "C"}],
}
ITEMS = {"name": "Ann", "items": [{"n": "one"}, {"n": "two"}, {"n": "three"}]}
NESTED = {"name": "R", "outer": [{"name": "A", "inner": [{"name": "x"}, {"name": "y"}]}]}

CORPUS = [
    # --- the SES developer guide -----------------------------------------------------------------
    Case("guide: a nested path", "Hello {{contact.firstName}}!", ANAYA),
    Case("guide: a list", LIST, ANAYA),
    Case("guide: an empty list", LIST, SHIRLEY),
    Case("guide: a condition that holds", CONDITION, ANAYA),
    Case("guide: a condition that does not", CONDITION, SHIRLEY),
    Case("guide: inline partials", FULL_NAME, FRIENDS),
    Case("guide: a friend without a first name", FULL_NAME, {**FRIENDS, "friends": [{"lastName": "L"}]}),
    Case("guide: no list at all", LIST, {"name": "Ann"}),
    # --- variables -------------------------------------------------------------------------------
    Case("text only", "Hello.\n", {}),
    Case("nothing", "", {}),
    Case("a variable", "{{name}}", {"name": "Ann"}),
    Case("spaces within the braces", "{{ name }}{{\tname\n}}", {"name": "Ann"}),
    Case("nothing is escaped", "{{a}}{{{a}}}{{&a}}", {"a": "<b>&\"'`=</b>"}),
    Case("a missing variable", "Hi {{name}}", {"nmae": "Ann"}),
    Case("a null variable", "Hi {{name}}", {"name": None}),
    Case("an empty variable", "Hi {{name}}!", {"name": ""}),
    Case("a missing variable in three braces", "{{{name}}}", {}),
    Case("a null variable in three braces", "{{{name}}}", {"name": None}),
    Case("adjacent numbers are not added", "{{a}}{{b}}", {"a": 1, "b": 2}),
    Case("truth values", "{{a}} {{b}}", {"a": True, "b": False}),
    Case("zero", "{{a}}", {"a": 0}),
    Case("another case is another name", "{{Name}}", {"name": "Ann"}),
    Case("a name with a hyphen, a digit, an umlaut", "{{a-b}}{{1a}}{{ö}}", {"a-b": "x", "1a": "y", "ö": "z"}),
    Case("a name in brackets", "{{[first name]}}", {"first name": "Ann"}),
    Case("a name with a space is a helper's call", "{{first name}}", {"first name": "Ann"}),
    Case("braces of a style sheet beside a variable", "a { color: {{c}} }", {"c": "red"}),
    Case("three braces where a style sheet ends", "a {color:{{c}}}", {"c": "red"}),
    Case("percent signs and backslashes", "100 % \\n %s {{a}} \\ {{a}}", {"a": "%d"}),
    Case("data that look like a template", "{{a}}", {"a": "{{b}}"}),
    # --- paths -----------------------------------------------------------------------------------
    Case("a path three levels deep", "{{a.b.c}}", {"a": {"b": {"c": "x"}}}),
    Case("a path with slashes", "{{a/b}}", {"a": {"b": "x"}}),
    Case("the end of a path is missing", "{{a.b}}", {"a": {}}),
    Case("the middle of a path is missing", "{{a.b.c}}", {"a": {}}),
    Case("the beginning of a path is null", "{{a.b}}", {"a": None}),
    Case("a path into a text", "{{a.b}}", {"a": "x"}),
    Case("an item by its number", "{{items.1.n}} {{items.[0].n}}", ITEMS),
    Case("an item that is not there", "{{items.3.n}}", ITEMS),
    Case("this and a dot", "{{this.name}}{{./name}}{{#with name}}{{this}}{{.}}{{/with}}", {"name": "A"}),
    Case("the root from within", "{{#each items}}{{@root.name}}{{/each}}", ITEMS),
    Case("two dots are a helper's argument", "{{a..b}}", {"a": {"b": "x"}}),
    # --- each ------------------------------------------------------------------------------------
    Case("the data around a list", "{{#each items}}{{n}} {{../name}};{{/each}}", ITEMS),
    Case("the data around a list, forgotten", "{{#each items}}{{n}} {{name}};{{/each}}", ITEMS),
    Case("lists within lists", "{{#each outer}}{{#each inner}}{{name}}{{../name}}{{../../name}} {{/each}}{{/each}}", NESTED),
    Case("numbers of items", "{{#each items}}{{@index}}{{@key}}{{@first}}{{@last}} {{/each}}", ITEMS),
    Case("number of the item around", "{{#each outer}}{{#each inner}}{{@../index}}{{@index}} {{/each}}{{/each}}", NESTED),
    Case("a number outside of lists", "{{@index}}", ITEMS),
    Case("keys of an object", "{{#each a}}{{@key}}={{this}};{{/each}}", {"a": {"x": "1", "y": "2"}}),
    Case("a list of texts", "{{#each a}}[{{this}}]{{/each}}", {"a": ["x", "y"]}),
    Case("a list with a null", "{{#each a}}[{{this}}]{{/each}}", {"a": ["x", None]}),
    Case("a null that is not printed", "{{#each a}}x{{/each}}", {"a": [None, None]}),
    Case("else of a list", "{{#each a}}x{{else}}none{{/each}}", {"a": []}),
    Case("a missing list", "{{#each a}}x{{else}}none{{/each}}", {}),
    Case("a list that is a text", "{{#each a}}x{{else}}none{{/each}}", {"a": "abc"}),
    Case("an item lacks a name", "{{#each items}}{{n}}{{price}}{{/each}}", ITEMS),
    Case("an item with a name", "{{#each items as |it no|}}{{no}}{{it.n}}{{name}}{{/each}}", {"items": [{"n": "1", "name": "a"}]}),
    Case("the last item without a comma", "{{#each items}}{{n}}{{#unless @last}}, {{/unless}}{{/each}}", ITEMS),
    # --- if, unless, with ------------------------------------------------------------------------
    Case("a missing name may be asked for", "{{#if a}}{{a}}{{else}}-{{/if}}", {}),
    Case("a null may be asked for", "{{#if a}}{{a}}{{else}}-{{/if}}", {"a": None}),
    Case("what counts as false", "{{#each a}}{{#if this}}1{{else}}0{{/if}}{{/each}}", {"a": ["", 0, False, [], {}, "0", "false"]}),
    Case("else if", "{{#if a}}a{{else if b}}b{{else}}c{{/if}}", {"a": "", "b": "x"}),
    Case("else if, thrice, and a list", "{{#if a}}a{{else if b}}b{{else unless c}}c{{else each d}}{{this}}{{/if}}", {"c": "x", "d": ["y"]}),
    Case("a name that is missing where it is not needed", "{{#if a}}{{b}}{{/if}}ok", {"a": False}),
    Case("a condition leaves the data alone", "{{#each items}}{{#if n}}{{../name}}{{/if}}{{/each}}", ITEMS),
    Case("a condition that asks too deep", "{{#if a.b}}x{{else}}y{{/if}}", {}),
    Case("a condition with two names", "{{#if a b}}x{{/if}}", {"a": "1", "b": "1"}),
    Case("a comparison", '{{#if (eq a "1")}}x{{/if}}', {"a": "1"}),
    Case("unless", "{{#unless a}}x{{else}}y{{/unless}}", {"a": []}),
    Case("with", "{{#with contact}}{{firstName}} {{../meta.userId}}{{/with}}", ANAYA),
    Case("else of with", "{{#with a}}x{{else}}none{{/with}}", {"a": {}}),
    Case("with something missing", "{{#with a}}x{{else}}none{{/with}}", {}),
    Case("an inverse", "{{^if a}}x{{/if}}{{#if a}}{{^}}y{{/if}}", {"a": ""}),
    Case("a bare section", "{{#a}}{{b}}{{/a}}", {"a": {"b": "x"}}),
    Case("block names in capitals", "{{#IF a}}x{{/IF}}", {"a": "1"}),
    Case("else in capitals", "{{#if a}}x{{ELSE}}y{{/if}}", {"a": "1"}),
    # --- partials --------------------------------------------------------------------------------
    Case("a partial before its definition", '{{> p}}{{#*inline "p"}}[{{name}}]{{/inline}}', ITEMS),
    Case("a partial with other data", '{{#*inline "p"}}[{{firstName}}]{{/inline}}{{> p contact}}', ANAYA),
    Case("a partial with names of its own", '{{#*inline "p"}}{{x}}{{y}}{{name}}{{/inline}}{{> p x="1" y=name}}', ITEMS),
    Case("a partial that is not defined", "{{> header}}", {}),
    Case("the lines of a partial", 'a\n  {{> p}}\nb{{#*inline "p"}}x\n\ny\n{{/inline}}', {}),
    # --- comments, white space, marks --------------------------------------------------------------
    Case("comments", "a{{! {{b}} c{{!-- }} --}}d\n  {{! alone }}\ne", {}),
    Case("white space taken away", "a \n {{~name~}} \n b {{#if name~}} c {{~/if}} d", {"name": "x"}),
    Case("tags on lines of their own", "a\n  {{#if name}}  \n  b\r\n\t{{else}}\n  c\n{{/if}}\nd", {"name": "x"}),
    Case("escaped braces", "\\{{name}} \\\\{{name}} \\{{{name}}}", {"name": "x"}),
    Case("a block that is not closed", "{{#if a}}x", {"a": "1"}),
]  # fmt: skip
