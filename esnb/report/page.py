"""The page of a report: what cells show, without anything that runs or loads."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bleach  # type: ignore[import-untyped]
from bleach.css_sanitizer import CSSSanitizer  # type: ignore[import-untyped]
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]

from esnb.show import UNTYPESET, visible

__all__ = ["harmless", "page"]

# The browser itself is told: no script, no request, whatever this page holds.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none';"
    " base-uri 'none'"
)
_VEGA = "application/vnd.vega.v5+json"
_VIEW = "application/vnd.jupyter.widget-view+json"
_PICTURES = ("image/png", "image/jpeg", "image/gif")
_DATA = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]+")
_GONE = re.compile(r"<(script|style|template|iframe|object|title)\b.*?</\1\s*>", re.I | re.S)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LONGEST = 200_000  # characters of one output
_TAGS = frozenset(
    [
        "a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del",
        "details", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5",
        "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "samp",
        "small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th",
        "thead", "tr", "u", "ul", "var",
    ]
)  # fmt: skip
_PLAIN = frozenset(
    {"alt", "aria-label", "class", "colspan", "dir", "height", "lang", "open", "role", "rowspan",
     "scope", "span", "start", "title", "width"}
)  # fmt: skip
_CSS = CSSSanitizer(
    allowed_css_properties=[
        "background-color", "color", "font-style", "font-weight", "text-align", "vertical-align",
        "white-space", "width", "max-width",
    ],
)  # fmt: skip

_STYLE = (Path(__file__).parent / "page.css").read_text()


def page(
    notebook: Any,
    name: str,
    parameters: Mapping[str, str],
    facts: Mapping[str, str],
    error: str | None,
    *,
    code: bool,
) -> str:
    """Return the whole page.

    Parameters
    ----------
    notebook
        A notebook of nbformat that was run.
    name
        The title, where no heading says one.
    parameters
        As they were, by name.
    facts
        What else is said at the top, by what it is.
    error
        What stopped the run.
    code
        Whether code is in it, folded.
    """
    title, parts = name, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            found = re.search(r"^#\s+(.+)$", cell.source, re.M)
            if title is name and found:
                title = found[1].strip()
            made = _markdown(cell.source)
            parts.append(f"<section {UNTYPESET}>{harmless(made)}</section>")
        elif cell.cell_type == "code":
            parts.append(_code(cell.source) if code and cell.source.strip() else "")
            parts += [
                f'<div class="output">{one}</div>' for one in map(_output, cell.outputs) if one
            ]
    shown = {**{f"Parameter {key}": value for key, value in parameters.items()}, **facts}
    lines = "".join(
        f"<dt>{_text(key, 200)}</dt><dd>{_text(value, 1000)}</dd>" for key, value in shown.items()
    )
    head = f'<dl class="facts">{lines}</dl>'
    if error is not None:
        head += (
            f'<p class="stopped" role="alert"><strong>Not all of it was run.</strong> It stopped in'
            f" {_text(error, 2000)}</p>"
        )
    # The notebook's own heading stands first, and what it was run with under it.
    first = next((i for i, part in enumerate(parts) if "<h1" in part), None)
    if first == 0:
        parts[0] = re.sub(r"(</h1>)", lambda m: m[1] + head, parts[0], count=1)
    else:
        parts.insert(0, f"<h1>{_text(title, 300)}</h1>{head}")
    colours = HtmlFormatter(nobackground=True).get_style_defs("details.code")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title, 300)}</title>\n<style>{_STYLE}{colours if code else ''}</style>\n"
        f"</head><body {UNTYPESET}>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def harmless(text: str) -> str:
    """Return HTML of which only text, tables, lists, links and pictures it carries itself stay.

    >>> harmless('<b onclick="x()">a</b><script>y()</script><img src="http://e.org/" alt="i">')
    '<b>a</b><img alt="i">'
    """
    return str(
        bleach.clean(
            _GONE.sub("", text),
            tags=_TAGS,
            attributes=_allowed,
            protocols={"http", "https", "mailto", "data"},
            css_sanitizer=_CSS,
            strip=True,
        )
    )


def _allowed(tag: str, name: str, value: str) -> bool:
    if name in _PLAIN or name == "style":
        return True
    if (tag, name) == ("img", "src"):
        return bool(_DATA.fullmatch(value))
    return (tag, name) == ("a", "href") and value.lower().startswith(
        ("https://", "http://", "mailto:")
    )


def _markdown(text: str) -> str:
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
    return str(MarkdownWithMath(renderer=renderer).render(text))


def _code(source: str) -> str:
    first = source.lstrip().split(None, 1)[0]
    lexer = get_lexer_by_name("sql" if first == "%%esql" else "python", stripnl=False)
    made = highlight(_lines(source), lexer, HtmlFormatter(nowrap=True))
    return f'<details class="code"><summary>Code</summary><pre>{made}</pre></details>'


def _output(output: Any) -> str:
    kind = output.output_type
    if kind == "stream":
        name = "stderr" if output.name == "stderr" else "stdout"
        return f'<pre class="{name}">{_pre(output.text)}</pre>'
    if kind == "error":
        said = f'<pre class="error">{_pre(f"{output.ename}: {output.evalue}")}</pre>'
        steps = "\n".join(output.traceback)
        return f"{said}<details><summary>Traceback</summary><pre>{_pre(steps)}</pre></details>"
    data = output.data
    said = data.get("text/plain", "")
    picture = _picture(data, said)
    if _VIEW in data:
        return '<p class="note">An interactive part stands here in the notebook.</p>'
    if _VEGA in data and picture:
        return picture
    if "text/html" in data:
        return _spelled(harmless(data["text/html"]))
    if picture:
        return picture
    if "text/markdown" in data:
        return _spelled(harmless(_markdown(data["text/markdown"])))
    text = data.get("text/latex", said) or said
    return f"<pre>{_pre(text)}</pre>" if text else ""


def _picture(data: Mapping[str, Any], said: str) -> str | None:
    alt = html.escape(visible(said, 300), quote=True)
    for kind in _PICTURES:
        if kind in data:
            # Bytes are read and written again: only base64 comes into the page.
            content = base64.b64encode(base64.b64decode(data[kind])).decode()
            return f'<img alt="{alt}" src="data:{kind};base64,{content}">'
    if "image/svg+xml" in data:
        # As a picture an SVG runs nothing and loads nothing.
        content = base64.b64encode(str(data["image/svg+xml"]).encode(errors="replace")).decode()
        return f'<img alt="{alt}" src="data:image/svg+xml;base64,{content}">'
    return None


def _pre(text: str) -> str:
    cut = len(text) - _LONGEST
    more = f"\n… {cut:,} more characters" if cut > 0 else ""
    return html.escape(_lines(_ANSI.sub("", text[:_LONGEST])) + more)


def _spelled(text: str) -> str:
    """Return HTML whose every sign can be seen: what turns or hides text is spelled out."""
    return "\n".join(visible(line.replace("\t", " ")) for line in text.split("\n"))


def _lines(text: str) -> str:
    """Return text whose every sign can be seen; lines and tabs stay."""
    return "\n".join(
        "    ".join(visible(part) for part in line.split("\t")) for line in text.split("\n")
    )


def _text(text: str, limit: int) -> str:
    return html.escape(visible(text, limit))
