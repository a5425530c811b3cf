"""The expressions that an Agent's instructions and greeting may use, such as `{{tenant.displayName}}`.

A substituted value is never looked at again: a company called `{{agent.name}}` stays one.
"""

from collections.abc import Mapping

_OPEN, _CLOSE = "{{", "}}"
_SHOWN_LENGTH = 60


class TemplateError(ValueError):
    """A text uses an expression that does not exist or does not end; the message names field and expression."""


def build_values(*, tenant: str, tenant_display_name: str, agent: str, agent_display_name: str) -> dict[str, str]:
    """What the expressions stand for."""
    return {
        "tenant.name": tenant,
        "tenant.displayName": tenant_display_name,
        "agent.name": agent,
        "agent.displayName": agent_display_name,
    }


def render_template(template: str, values: Mapping[str, str], *, field: str) -> str:
    """`template`, which stands in `field`, with its expressions replaced; spaces inside of the braces do not matter.

    Raises:
        TemplateError: an expression is unknown or is not closed.
    """
    known = ", ".join(f"{_OPEN}{name}{_CLOSE}" for name in values)
    rendered = []
    position = 0
    while (start := template.find(_OPEN, position)) >= 0:
        rendered.append(template[position:start])
        end = template.find(_CLOSE, start)
        if end < 0:
            raise TemplateError(
                f"{field}: the expression {_shorten(template[start:])} has no closing '{_CLOSE}'; known are {known}"
            )
        position = end + len(_CLOSE)
        value = values.get(template[start + len(_OPEN) : end].strip())
        if value is None:
            raise TemplateError(
                f"{field}: the expression {_shorten(template[start:position])} is unknown; known are {known}"
            )
        rendered.append(value)
    rendered.append(template[position:])
    return "".join(rendered)


def _shorten(text: str) -> str:
    line = text.partition("\n")[0]
    return repr(text if text == line and len(text) <= _SHOWN_LENGTH else f"{line[:_SHOWN_LENGTH]}…")
