"""Expressions in instructions."""

import pytest

from syntera_operator.desired.templates import TemplateError, build_values, render_template

VALUES = build_values(
    tenant="acme", tenant_display_name="Acme {{agent.name}} Travel", agent="travel", agent_display_name="Ada"
)


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("Plain text.", "Plain text."),
        ("{{tenant.name}}/{{ agent.name }}: {{\tagent.displayName\n}}", "acme/travel: Ada"),
        ("{{tenant.displayName}}", "Acme {{agent.name}} Travel"),
        ("{ {tenant.name} } }}", "{ {tenant.name} } }}"),
        ("{{agent.name}}{{agent.name}}", "traveltravel"),
    ],
)
def test_instructions(template: str, rendered: str) -> None:
    assert render_template(template, VALUES, field="spec.instructions") == rendered


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("Hello {{company}}", "'{{company}}' is unknown"),
        ("{{}}", "'{{}}' is unknown"),
        ("{{Tenant.name}}", "'{{Tenant.name}}' is unknown"),
        ("{{{tenant.name}}}", "'{{{tenant.name}}' is unknown"),
        ("{{tenant.name", "'{{tenant.name' has no closing '}}'"),
        ("{{a {{tenant.name}}", "'{{a {{tenant.name}}' is unknown"),
        ("{{tenant.__class__}}", "'{{tenant.__class__}}' is unknown"),
    ],
)
def test_instructions_with_a_faulty_expression_name_it_and_list_the_known(template: str, named: str) -> None:
    with pytest.raises(TemplateError) as raised:
        render_template(template, VALUES, field="spec.instructions")
    assert named in str(raised.value)
    assert "known are {{tenant.name}}, {{tenant.displayName}}, {{agent.name}}, {{agent.displayName}}" in str(
        raised.value
    )


def test_instructions_with_a_long_faulty_expression_show_its_beginning_only() -> None:
    with pytest.raises(TemplateError) as raised:
        render_template("{{" + "x" * 30_000 + "}}", VALUES, field="spec.instructions")
    assert len(str(raised.value)) < 300
