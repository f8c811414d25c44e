"""A template's judgement of one row, by tables."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from mailsluice.mailing.rendering import Fault, Source, Template, TemplateError, Verdict, merged


def stored(html: str) -> Template:
    return Template.stored(Source(html=html))


def faults(html: str, data: dict[str, Any]) -> list[tuple[Fault, str]]:
    return [(each.fault, each.place.name) for each in stored(html).judge(data)]


def test_each_part_is_rendered_and_judged_by_itself() -> None:
    template = Template.stored(Source("{{a}}", 'b{{#*inline "p"}}x{{/inline}}{{> p}}', "{{> p}}"))
    rendering = template.render({"a": "1"})
    assert rendering[1:] == ("1", "bx", "")
    [finding] = rendering.findings
    assert (finding.fault, finding.place) == (Fault.PARTIAL, ("html", 1, "> p", ""))
    assert rendering.verdict is Verdict.FAILS


def test_a_part_that_is_not_there_stays_so() -> None:
    assert Template.stored(Source(subject="s")).render({})[1:] == ("s", None, None)


def test_a_finding_names_part_line_and_block() -> None:
    [finding] = stored("a\n{{#each items}}\n\n{{n}}\n{{/each}}").judge({"items": [{}]})
    assert finding.place == ("html", 4, "n", "#each items")


def test_what_is_missing_is_rendered_as_nothing_and_the_rest_goes_on() -> None:
    rendering = stored("{{a}}, {{b}}, {{c.d}}!").render({"b": "B", "c": None})
    assert rendering.html == ", B, !"
    assert [each.place.name for each in rendering.findings] == ["a", "c.d"]


@pytest.mark.parametrize(
    ("html", "data", "near"),
    [
        ("{{firstname}}", {"fistname": "Ann", "plan": "x"}, "fistname"),
        ("{{fistname}}", {"firstname": "Ann"}, "firstname"),
        ("{{FirstName}}", {"firstname": "Ann"}, "firstname"),
        ("{{contact.nmae}}", {"contact": {"name": "Ann"}, "nmae2": ""}, "contact.name"),
        ("{{#each items}}{{name}}{{/each}}", {"name": "Ann", "items": [{"n": ""}]}, "../name"),
        ("{{#with it}}{{pirce}}{{/with}}", {"it": {"price": "1"}}, "price"),
        ("{{#Each items}}{{name}}{{/Each}}", {}, "each"),
        ("{{zip}}", {"name": "Ann"}, None),
        ("{{a}}", {"a": None, "A": "x"}, None),
        ("{{a.b}}", {"a": "text"}, None),
    ],
)
def test_a_near_miss_is_named(html: str, data: dict[str, Any], near: str | None) -> None:
    [finding] = stored(html).judge(data)
    assert finding.near_miss == near


@pytest.mark.parametrize(
    ("html", "why"),
    [
        ("{{lookup a 'b'}}", "no such helper"),
        ("{{#if (eq a b)}}x{{/if}}", "something else than a name"),
        ("{{#a}}x{{/a}}", "no such block"),
        ("{{#if a includeZero=true}}x{{/if}}", "takes one name"),
        ("{{#if a as |b|}}x{{/if}}", "takes one name"),
        ("{{#> p}}x{{/p}}", "blocks of partials"),
        ("{{> (p)}}", "the data say"),
        ("{{{{raw}}}} {{a}} {{{{/raw}}}}", "nothing of this part"),
        ("{{* x}}", "nothing of this part"),
        ("{{#if 1}}x{{/if}}", "something else than a name"),
        ('{{"a"}}', "in place of a name"),
        ("{{log}}", "name of a helper"),
        ("{{@this}}", "documentation"),
        ("{{#if b.c}}x{{/if}}", "missing, null or no object"),
        ("{{#if @../../index}}x{{/if}}", "missing, null or no object"),
        ("{{l.length}}", "length"),
        ("{{#with l}}{{length}}{{/with}}", "length"),
        ("{{#if a.length}}x{{/if}}", "length"),
        ('{{#*inline "p"}}{{../a}}{{/inline}}{{> p}}', "within a partial"),
        ('{{#with a as |b|}}{{#*inline "p"}}{{b}}{{/inline}}{{> p}}{{/with}}', "block parameters"),
        ('{{#*inline "p"}}{{> p}}{{/inline}}{{> p}}', "come to no end"),
        ('{{#*inline "p"}}x{{/inline}}{{> p (a)}}', "else than names and texts"),
        ('{{#*inline "p"}}x{{/inline}}{{> p a b="1"}}', "added to no object"),
    ],
)
def test_what_is_beyond_the_documentation_is_never_fine(html: str, why: str) -> None:
    rendering = stored(html).render({"a": "x", "l": ["1"]})
    assert rendering.verdict is Verdict.UNKNOWN
    assert why in rendering.findings[0].note


def test_a_partial_is_known_in_its_block_and_nowhere_else() -> None:
    template = stored('{{#if a}}{{#*inline "p"}}x{{/inline}}{{> p}}{{/if}}{{#if b}}{{> p}}{{/if}}')
    assert template.render({"a": "1"}).html == "x"
    assert template.render({"a": "1", "b": "1"}).verdict is Verdict.FAILS


def test_a_block_that_keeps_its_data_makes_no_step_for_two_dots() -> None:
    """Handlebars compares: only other data are another level."""
    html = "{{#with a}}{{#with this}}{{../name}}{{/with}}{{#each b}}{{#each this}}{{../../name}}"
    template = stored(html + "{{/each}}{{/each}}{{/with}}")
    assert template.render({"name": "Ann", "a": {"b": [["x"]]}}).verdict is Verdict.FAILS
    assert template.render({"name": "Ann", "a": {"name": "Bo", "b": []}}).html == "Ann"


def test_what_is_not_reached_is_not_judged() -> None:
    template = stored("{{#if vip}}{{lookup a b}}{{c}}{{#IF d}}{{/IF}}{{/if}}ok")
    assert template.render({}) == ([], None, None, "ok")
    assert template.render({"vip": "x"}).verdict is Verdict.FAILS


@pytest.mark.parametrize(
    ("value", "text", "has_form"),
    [
        ("x", "x", False),
        (12, "12", False),
        (True, "true", False),
        (1.5, "1.5", True),
        (2.0, "2", True),
        (Decimal("1.10"), "1.10", True),
        ({"b": "c"}, "[object Object]", True),
        (["1", None, 2], "1,,2", True),
    ],
)
def test_values_that_ses_may_write_otherwise_are_named(
    value: object, text: str, *, has_form: bool
) -> None:
    rendering = stored("{{a}}").render({"a": value})
    assert rendering.html == text
    assert rendering.verdict is Verdict.FINE
    assert [each.fault for each in rendering.findings] == [Fault.FORM] * has_form


def test_numbered_keys_of_an_object_come_in_an_order_that_is_not_known() -> None:
    assert faults("{{#each a}}{{this}}{{/each}}", {"a": {"2": "x"}}) == [(Fault.FORM, "#each a")]


@pytest.mark.parametrize("falsy", ["", 0, 0.0, Decimal(0), False, None, []])
def test_what_counts_as_false(falsy: object) -> None:
    assert stored("{{#if a}}1{{else}}0{{/if}}").render({"a": falsy}).html == "0"


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("a\n {{#if a}}", "html, line 2, column 2: {{#if}} is never closed"),
        ("{{#if a}}{{/each}}", "{{#if}} is closed by {{/each}}"),
        ("{{/if}}", "{{/ has no block to belong to"),
        ("{{else}}", "{{else}} has no block to belong to"),
        ("{{a", "a tag is never closed"),
        ("{{!-- a }}", "a comment is never closed"),
        ("{{a}}}", "the tag should end"),
        ("{{}}", "a tag has no name"),
        ("{{a b=1 c}}", "after name=value"),
        ("{{a.}}x\0", "NUL"),
        ("{{a ; b}}", "';' cannot stand in a tag"),
        ("{{a | b}}", "'|' cannot stand here"),
        ("{{a % b}}", "'%' cannot stand in a tag"),
        ("{{> p a b}}", "one object at most"),
        ('{{#*inline "p"}}a{{else}}b{{/inline}}', "has no else"),
    ],
)
def test_what_is_no_template_is_refused_with_its_place(html: str, said: str) -> None:
    with pytest.raises(TemplateError) as refused:
        stored(html)
    assert said in str(refused.value)


def test_blocks_may_be_nested_too_deep_to_judge_but_never_too_deep_to_say_so() -> None:
    deep = 5_000
    template = stored("{{#if a}}" * deep + "x" + "{{/if}}" * deep)
    assert template.render({"a": "1"}).verdict is Verdict.UNKNOWN
    long = stored("{{" + ".".join(["a"] * deep) + "}}")
    assert long.render({"a": {}}).verdict is Verdict.FAILS


def inline(html: str) -> Template:
    return Template.inline(Source("Hi", None, html))


def test_inline_content_takes_plain_names() -> None:
    rendering = inline("Dear {{ firstName }}, {{plan2}}").render({"firstName": "Ann", "plan2": "x"})
    assert rendering == ([], "Hi", None, "Dear Ann, x")
    assert inline("{{name}}").render({}).verdict is Verdict.FAILS


@pytest.mark.parametrize("html", ["{{#if a}}x{{/if}}", "{{> p}}", "{{#a}}{{/a}}", "{{{{a}}}}"])
def test_inline_content_with_operations_is_refused(html: str) -> None:
    with pytest.raises(TemplateError, match=r"html, .*line 1: SES takes \{\{name\}\} and nothing"):
        inline(html)


@pytest.mark.parametrize(
    "html", ["{{first_name}}", "{{a.b}}", "{{{a}}}", "{{&a}}", "{{! a }}", "{{~a}}", "{{this}}"]
)
def test_inline_content_that_ses_is_reported_to_refuse_is_not_judged(html: str) -> None:
    rendering = inline(html).render({"first_name": "Ann", "a": "x", "this": "y"})
    assert Fault.UNKNOWN in {each.fault for each in rendering.findings}


@pytest.mark.parametrize(
    ("default", "replacement", "both"),
    [
        ({"a": "1"}, {}, {"a": "1"}),
        ({}, {"a": "1"}, {"a": "1"}),
        ({"a": "1", "b": "2"}, {"b": "3", "c": "4"}, {"a": "1", "b": "3", "c": "4"}),
        ({"o": {"a": "1", "b": "2"}}, {"o": {"b": "3"}}, {"o": {"a": "1", "b": "3"}}),
        ({"o": {"p": {"a": 1, "b": 2}}}, {"o": {"p": {"b": 3}}}, {"o": {"p": {"a": 1, "b": 3}}}),
        ({"l": ["1", "2"]}, {"l": ["3"]}, {"l": ["3"]}),
        ({"l": [{"a": "1"}]}, {"l": [{"b": "2"}]}, {"l": [{"b": "2"}]}),
        ({"o": {"a": "1"}}, {"o": "text"}, {"o": "text"}),
        ({"o": "text"}, {"o": {"a": "1"}}, {"o": {"a": "1"}}),
        ({"a": "1"}, {"a": None}, {"a": None}),
    ],
)
def test_data_are_merged_as_ses_merges_them(
    default: Mapping[str, Any], replacement: Mapping[str, Any], both: Mapping[str, Any]
) -> None:
    kept = repr((default, replacement))
    assert merged(default, replacement) == both
    assert repr((default, replacement)) == kept
