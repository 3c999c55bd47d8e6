"""Showing Altair charts in JupyterLab without internet.

JupyterLab 4.6 draws Vega 5, Altair 6 writes Vega-Lite 6, and Altair's own
renderers bridge the two with scripts from the internet.  This one compiles each
chart to Vega in the kernel and lets the lab draw it, with a picture beside it
for where there is no lab: saved notebooks, GitHub, nbconvert.
"""

from __future__ import annotations

from typing import Any

__all__ = ["enable", "mimebundle"]

NAME = "esnb"
VEGA = "application/vnd.vega.v5+json"
_VEGA_5 = "https://vega.github.io/schema/vega/v5.json"
# The lab's own ink follows its theme while one looks on; elsewhere, and in the picture,
# a grey that stands out from white (4.5 to 1) as from the lab's black (4.2 to 1).
_GREY = "#767676"
INK = f"var(--jp-content-font-color1, {_GREY})"
FAINT_INK = f"var(--jp-content-font-color2, {_GREY})"
_LINE = "#888888"
# The lab's ink needs SVG.  Its menu links to an editor on the internet and would save
# pictures without the ink; `chart.save("name.png")` needs no menu.
_OPTIONS = {"renderer": "svg", "actions": False}


def enable() -> None:
    """Have this renderer show every Altair chart of the session, if none was chosen.

    Charts of esnb call it.  A renderer that somebody enabled stays.
    """
    import altair as alt

    if NAME not in alt.renderers.names():
        alt.renderers.register(NAME, mimebundle)
    if alt.renderers.active == "default":
        alt.renderers.enable(NAME)


def mimebundle(
    spec: dict[str, Any], *, picture: bool = True, **_: object
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compile a Vega-Lite chart for display.

    Parameters
    ----------
    spec
        Vega-Lite 6, as ``chart.to_dict()`` returns it.
    picture
        Add a PNG.  JupyterLab makes one by itself where there is none.

    Returns
    -------
    tuple of dict
        Data and metadata by MIME type: Vega labelled as version 5, PNG, text.
        There is no ``text/html``: JupyterLab would prefer it to the living chart.
    """
    import altair as alt
    import vl_convert as vlc

    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    vega = vlc.vegalite_to_vega(_inked(spec), vl_version=version)
    data: dict[str, Any] = {"text/plain": _words(spec), VEGA: {**vega, "$schema": _VEGA_5}}
    if picture:
        # No address is allowed: a chart must not fetch anything, neither here nor in the lab.
        data["image/png"] = vlc.vega_to_png(_printed(vega), allowed_base_urls=[])
    return data, {VEGA: {"embed_options": _OPTIONS}}


def _inked(spec: dict[str, Any]) -> dict[str, Any]:
    """Return `spec` with transparent ground and the lab's ink, where it says nothing else."""
    ours: dict[str, Any] = {
        "background": "transparent",
        "view": {"stroke": "transparent"},
        "axis": {
            "labelColor": INK,
            "titleColor": INK,
            "domainColor": _LINE,
            "gridColor": _LINE,
            "tickColor": _LINE,
            "gridOpacity": 0.25,
            "domainOpacity": 0.5,
            "tickOpacity": 0.5,
        },
        "legend": {"labelColor": INK, "titleColor": INK},
        "header": {"labelColor": INK, "titleColor": INK},
        "title": {"color": INK, "subtitleColor": FAINT_INK},
        "text": {"color": INK},
        "rule": {"color": INK},
    }
    return {**spec, "config": _merged(ours, spec.get("config", {}))}


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = _merged(result[name], value) if both else value
    return result


def _printed(vega: Any) -> Any:
    """Return `vega` with grey in place of the lab's ink, which a picture cannot have."""
    if isinstance(vega, dict):
        return {name: _printed(value) for name, value in vega.items()}
    if isinstance(vega, list):
        return [_printed(value) for value in vega]
    return _GREY if vega in (INK, FAINT_INK) else vega


def _words(spec: dict[str, Any]) -> str:
    """Return what a chart says about itself, for a terminal or a screen reader."""
    title = spec.get("title", "")
    if isinstance(title, dict):
        lines = [title.get("text", ""), title.get("subtitle", "")]
        flat = [part for line in lines for part in (line if isinstance(line, list) else [line])]
        title = "\n".join(part for part in flat if part)
    elif isinstance(title, list):
        title = "\n".join(title)
    return f"Chart: {title or spec.get('description', 'untitled')}"
