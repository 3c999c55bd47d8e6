"""What all widgets share: intents from the browser, answers, code, and what is left without it.

A piece is an anywidget whose JavaScript stands beside its Python, under the same name.  The
browser asks it by name, ``{"ask": "rows", "with": {"first": 200}}``; only methods marked with
`intent` can be asked, their arguments are checked, and an error becomes a text that is shown.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar
from uuid import uuid4

import anywidget
import ipywidgets
import traitlets
from IPython.display import display
from pydantic import ConfigDict, ValidationError, validate_call

from esnb.duck import interruptible
from esnb.errors import EsnbError
from esnb.show import UNTYPESET, html_table, visible
from esnb.widget.base import cells, mainthread

if TYPE_CHECKING:
    import duckdb

    from esnb.widget.base.session import Session

__all__ = ["STATIC", "Answer", "Piece", "intent", "let_go", "looks_of", "show"]

# Set by `esnb report`: pieces leave their pictures and tables, and nothing that needs a kernel.
STATIC = "ESNB_STATIC"
_FOLDER = Path(__file__).parent
# Each beside the module of its piece.
_SCRIPTS = {path.stem: path for path in _FOLDER.parent.rglob("*.js")}
_ROWS = 20  # of the table that stays without a kernel
# The lab puts an error in place of a widget that is gone: words without any element.
_WITHOUT = (
    "<style>.jp-OutputArea:has(.esnb-fallback) > .jp-OutputArea-child:has(> .jupyter-widgets)"
    ":not(:has(> .jupyter-widgets > *)) { display: none; }</style>"
)
_KEPT: dict[tuple[str, str], dict[str, Any]] = {}
_Method = TypeVar("_Method", bound=Callable[..., Any])


class Answer(NamedTuple):
    """An answer with bytes beside it: numbers that are too many for JSON."""

    content: Mapping[str, Any]
    buffers: tuple[bytes | memoryview, ...] = ()


def intent(method: _Method) -> _Method:
    """Let the browser ask this method by its name; its arguments are checked by their types.

    It returns a mapping of JSON values, or an `Answer`.
    """
    checked: Any = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(method)
    checked.is_intent = True
    return checked  # type: ignore[no-any-return]


@cache
def _code(name: str) -> str:
    """Return the code of a piece, or what all share, with the style."""
    text = _SCRIPTS[name].read_text()
    if name != "shared":
        return text
    style = (_FOLDER / "style.css").read_text()
    # A template string: no character of ours ends it.
    return f"{text}\nexport const css = String.raw`{style}`;\n"


@cache
def _version(name: str) -> str:
    return hashlib.sha256(_code(name).encode()).hexdigest()[:12]


class Piece(anywidget.AnyWidget):
    """A widget of esnb.

    Parameters
    ----------
    session
        The session that it follows and writes to; without one it stands alone.
    key
        A name under which its settings are kept: a cell that is run again finds them.
    **settings
        What the user can set, by name; `settings` has them all.

    Attributes
    ----------
    settings
        What restores the widget, small and JSON: its own part of `code`.
    session
        The session.
    """

    # The name of its JavaScript file.
    name: ClassVar[str] = ""
    # What the user can set, with its default.
    defaults: ClassVar[Mapping[str, Any]] = {}
    # Which traits of the session change what it shows.
    follows: ClassVar[tuple[str, ...]] = ()
    # A piece whose constructor refused is closed too, when it goes.
    session: Session | None = None
    made: cells.Run | None = None
    _following = False

    _esm = (_FOLDER / "loader.js").read_text()
    piece = traitlets.Unicode().tag(sync=True)
    # Its own id: in the browser nothing else tells it.
    mark = traitlets.Unicode().tag(sync=True)
    versions = traitlets.Dict().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)

    def __init__(
        self, *, session: Session | None = None, key: str | None = None, **settings: Any
    ) -> None:
        self.session = session
        self._key = None if key is None else (type(self).__name__, key)
        self.made = cells.here()
        mainthread.meet()
        kept = _KEPT.get(self._key, {}) if self._key else {}
        mark = uuid4().hex
        super().__init__(
            model_id=mark,
            mark=mark,
            piece=self.name,
            versions={name: _version(name) for name in ("shared", self.name)},
            settings={**self.defaults, **settings, **kept},
        )
        self.on_msg(self._heard)

    # --- what it shows, without a browser ----------------------------------------------------

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return what it shows, as a relation of DuckDB."""
        raise NotImplementedError

    @property
    def sql(self) -> str:
        """The SQL of `data`."""
        return str(self.data().sql_query())

    @property
    def code(self) -> str:
        """The Python call that makes this widget anew, as it is set now."""
        raise NotImplementedError

    def chart(self) -> Any:
        """Return an Altair chart of the same, or None: the picture without a kernel."""
        return None

    def picture(self) -> bytes | None:
        """Return a PNG of the same, or None: the chart as a picture."""
        chart = self.chart()
        if chart is None:
            return None
        from esnb.chart import mimebundle

        drawn: bytes = mimebundle(chart.to_dict())[0]["image/png"]
        return drawn

    def title(self) -> str:
        """Return what stands above the static picture."""
        return type(self).__name__

    def open(self) -> None:
        """Be there for the browser, and follow the session; also again, after `close`."""
        self.layout.open()
        super().open()
        if self.session is not None and self.follows and not self._following:
            self._following = True
            self.session.observe(self._session_changed, names=list(self.follows))

    def close(self) -> None:
        """Let go of the session and the browser; what it shows can still be asked for."""
        # ipywidgets closes what is collected, also a second time, or half made.
        if self.session is not None and self._following:
            self._following = False
            self.session.unobserve(self._session_changed, names=list(self.follows))
        let_go(self)

    # --- with the browser --------------------------------------------------------------------

    @intent
    def ask_code(self, name: str) -> Mapping[str, Any]:
        """Return the code of this piece, or what all pieces share."""
        return {"code": _code(name if name == "shared" else self.name)}

    @intent
    def ask_set(self, changes: dict[str, Any]) -> Mapping[str, Any]:
        """Take over settings that the user changed."""
        self.change(**{name: value for name, value in changes.items() if name in self.defaults})
        return {}

    @intent
    def ask_copy(self) -> Mapping[str, Any]:
        """Return what "copy as code" copies."""
        return {"code": self.code}

    def change(self, **settings: Any) -> None:
        """Change settings, from Python; the browser follows."""
        self.settings = {**self.settings, **settings}
        if self._key is not None:
            _KEPT[self._key] = dict(self.settings)

    def altered(self, names: Iterable[str] | None = None) -> list[str]:
        """Return the settings that are not as usual, as arguments of a call: ``"limit=20"``."""
        return [
            f"{name}={self.settings[name]!r}"
            for name in (self.defaults if names is None else names)
            if self.settings[name] != self.defaults[name]
        ]

    def say(self, content: Mapping[str, Any], *buffers: bytes | memoryview) -> None:
        """Tell the browser something that it did not ask for."""
        self.send(dict(content), list(buffers))

    def _session_changed(self, change: Any) -> None:
        self.say({"event": "session", "changed": change["name"]})

    def _heard(self, _: object, content: Any, buffers: list[Any]) -> None:
        """Answer what the browser asks."""
        if isinstance(content, dict) and isinstance(content.get("ask"), str):
            mainthread.run(lambda: self._answer(content))

    def _answer(self, content: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"id": content.get("id")}
        parts: tuple[bytes | memoryview, ...] = ()
        try:
            with interruptible():
                answer = self._answered(content["ask"], content.get("with") or {})
            reply |= answer.content
            parts = answer.buffers
        except KeyboardInterrupt:
            reply["error"] = "Interrupted. Nothing was changed; ask again when you like."
        except EsnbError as error:
            reply["error"] = f"{type(error).__name__}: {error}"
        except Exception as error:
            # Shown where one looks; the traceback goes to the log of the lab.
            self.log.exception("a widget could not answer")
            reply["error"] = f"{type(error).__name__}: {error}"
        self.say(reply, *parts)

    def _answered(self, name: str, arguments: Any) -> Answer:
        method = getattr(self, f"ask_{name}", None)
        if method is None or not getattr(method, "is_intent", False):
            raise EsnbError(f"{type(self).__name__} knows no intent {visible(name, 40)}")
        try:
            answer = method(**arguments)
        except ValidationError as error:
            first = error.errors()[0]
            raise EsnbError(f"{name}: {first['loc']}: {first['msg']}") from None
        return answer if isinstance(answer, Answer) else Answer(answer)

    # --- without one -------------------------------------------------------------------------

    def fallback(self) -> dict[str, Any]:
        """Return what stays where no kernel runs: picture and first rows, by MIME type."""
        data: dict[str, Any] = {}
        parts = []
        picture = self.picture()
        if picture is not None:
            data["image/png"] = base64.b64encode(picture).decode()
            said = html.escape(visible(self.title(), 300), quote=True)
            parts.append(f'<img alt="{said}" src="data:image/png;base64,{data["image/png"]}">')
        else:
            parts.append(f"<p {UNTYPESET}>{html.escape(visible(self.title(), 300))}</p>")
        relation = self.data()
        rows = relation.limit(_ROWS + 1).fetchall()
        table = html_table(relation.columns, rows[:_ROWS])
        more = f"the first {_ROWS} rows" if len(rows) > _ROWS else f"{len(rows)} rows"
        opened = "" if picture is not None else " open"
        parts.append(f"<details{opened}><summary>{more} as a table</summary>{table}</details>")
        data["text/html"] = "".join(parts)
        data["text/plain"] = visible(f"{self.title()} ({more})", 300)
        return data

    def _ipython_display_(self) -> None:
        show(self, self)


def looks_of(widget: ipywidgets.DOMWidget) -> list[ipywidgets.Widget]:
    """Return the widgets that say how one looks, as far as it has them."""
    names = ("layout", "style")
    return [getattr(widget, name) for name in names if widget.trait_has_value(name)]


def let_go(widget: ipywidgets.DOMWidget) -> None:
    """Take a widget from the browser, with how it looks, so that it can be opened again."""
    ipywidgets.DOMWidget.close(widget)
    for one in looks_of(widget):
        one.close()
    # Closing leaves a mark by which it would not be shown any more.
    vars(widget).pop("_repr_mimebundle_", None)


def show(widget: ipywidgets.Widget, piece: Piece) -> None:
    """Show a widget in a notebook, and what stays of it without a kernel.

    Parameters
    ----------
    widget
        One that a run of a cell made, such as a piece.
    piece
        It, or the one in it whose fallback stands for it.
    """
    if os.environ.get(STATIC):
        _show(piece.fallback())
        return
    widget.open()
    cells.note(widget)
    bundle = widget._repr_mimebundle_()
    living = bundle[0] if isinstance(bundle, tuple) else bundle
    _show({**(living or {}), "text/plain": piece.title()})
    # A second output, which the piece hides as long as it lives: the lab shows no other type of
    # an output whose widget is gone.
    left = piece.fallback()
    marked = (
        f'<div class="esnb-fallback" data-esnb="{piece.model_id}">{_WITHOUT}{left["text/html"]}'
        "<p><small>As it was when this cell ran. Run it again to work with it.</small></p></div>"
    )
    _show({"text/html": marked, "text/plain": left["text/plain"]})


def _show(data: Mapping[str, Any]) -> None:
    display(dict(data), raw=True)  # type: ignore[no-untyped-call]
