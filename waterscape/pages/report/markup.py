"""HTML and SVG made of elements: whatever is not markup already is escaped, so no name can become some."""

from __future__ import annotations

import html
from typing import Any


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def tag(element: str, *children: Any, **attributes: Any) -> Html:
    """An element.

    Args:
        element: its name.
        children: `Html` as it is, lists one by one, None not at all, all else as escaped text.
        attributes: `class_` is class, `data_x` is data-x; True stands alone, None and False are left out.
    """
    told = "".join(_attribute(name, value) for name, value in attributes.items())
    if element in VOID:
        return Html(f"<{element}{told}>")
    return Html(f"<{element}{told}>{join(*children)}</{element}>")


VOID = ("img", "meta", "br", "input")


def join(*children: Any) -> Html:
    """Children one after another."""
    return Html("".join(_told(child) for child in children))


def _told(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, list | tuple):
        return join(*child)
    return html.escape(str(child), quote=False)


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    plain = name.rstrip("_").replace("_", "-")
    return f" {plain}" if value is True else f' {plain}="{html.escape(str(value))}"'
