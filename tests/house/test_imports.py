"""Imports point one way, stay inside their bounds, and `import esnb` is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "esnb"
FILES = sorted(PACKAGE.rglob("*.py"))

# Each layer may import those before it.  Modules of one layer may import each other.
LAYERS = [
    {"errors"},
    {
        "instants",
        "frozen",
        "jsontext",
        "event",
        "schema",
        "show",
        "duck",
        "progress",
        "sqltext",
        "uncollected",
    },
    {"aggregate"},
    {"log"},
    {"query"},
    {"timeline"},
    {"flow"},
    {"write"},
    {"source"},
    {"chart"},
    {"ask", "eventlog"},
    {"widget"},
    {"testing"},
    {"examples"},
    {"_face", "magic"},
    {"pandas"},
    {"__init__"},
    {"report"},
    {"cli"},
]
HEIGHT = {name: height for height, layer in enumerate(LAYERS) for name in layer}
# The same within the write side.
WRITING = ["logging", "stopping", "registry", "commands", "projections", "sagas", "__init__"]

# The kinds of widgets know what they share, and nothing of each other.
WIDGETS = {"base": {"base"}} | {kind: {"base", kind} for kind in ("events", "flows", "states")}

# Loaded on first use only: each costs a user of the others a second or more.
HEAVY = {
    "IPython", "altair", "anywidget", "bson", "ipywidgets", "jupyterlab", "matplotlib", "pandas",
    "polars", "psutil", "psycopg", "pygraphviz", "pymongo", "redis", "structlog", "tqdm",
    "vl_convert",
}  # fmt: skip
# What each layer is built on; everything else is foreign to it.
THIRD_PARTY = {
    "errors": set(),
    "duck": {"duckdb"},
    "instants": {"numpy"},
    "frozen": set(),
    "jsontext": {"orjson"},
    "event": set(),
    "schema": {"pyarrow"},
    "show": set(),
    "progress": {"IPython", "tqdm"},
    "sqltext": set(),
    "uncollected": set(),
    "aggregate": {"pydantic", "pydantic_core"},
    "log": {"duckdb", "numpy", "orjson", "pyarrow"},
    "query": {"duckdb", "numpy", "orjson", "pyarrow"},
    "timeline": {"duckdb", "numpy", "orjson", "pyarrow", "pydantic", "pydantic_core"},
    "flow": {"duckdb", "numpy", "orjson", "pandas", "pyarrow"},
    "write": {
        "bson",  # comes with pymongo
        "duckdb",
        "orjson",
        "psycopg",
        "pyarrow",
        "pydantic",
        "pymongo",
        "redis",
        "structlog",
    },
    "source": {"duckdb", "numpy", "orjson", "pandas", "polars", "pyarrow", "tqdm"},
    "chart": {"altair", "duckdb", "numpy", "pyarrow", "pygraphviz", "vl_convert"},
    "ask": {"duckdb", "pandas", "pyarrow"},
    "eventlog": {"duckdb", "pandas", "pyarrow"},
    "widget": {
        "IPython",
        "altair",
        "anywidget",
        "duckdb",
        "ipywidgets",
        "numpy",
        "pandas",
        "pyarrow",
        "pydantic",
        "traitlets",
    },
    "testing": {"pandas", "pytest"},
    "examples": {"pydantic"},
    "_face": set(),
    "magic": {"pandas"},
    "pandas": {"duckdb", "pandas"},
    "__init__": set(),
    "report": {
        "bleach",  # comes with nbconvert, as pygments and jupyter_client do
        "jupyter_client",
        "nbclient",
        "nbconvert",
        "nbformat",
        "pygments",
        "traitlets",
    },
    "cli": {"duckdb", "orjson", "pyarrow", "tqdm"},
}


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> Iterator[tuple[str, bool, int]]:
    """Yield the modules that a file imports: name, whether at its top, line."""
    tree = ast.parse(path.read_text())
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or _for_types(function)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node not in inner, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: say the whole name of the module"
            module = node.module or ""
            if module == "esnb":
                for name in node.names:
                    yield f"esnb.{name.name}", node not in inner, node.lineno
            else:
                yield module, node not in inner, node.lineno


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_has_a_layer():
    assert {place(path) for path in FILES} - set(HEIGHT) == set()
    assert set(THIRD_PARTY) == set(HEIGHT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    here = place(path)
    for module, _, line in imports(path):
        if module.split(".")[0] == "esnb":
            there = layer(module)
            assert there in HEIGHT, f"{path}:{line} imports a name from the face"
            same = HEIGHT[there] == HEIGHT[here]
            assert same or HEIGHT[there] < HEIGHT[here], f"{path}:{line}: {here} imports {there}"


def test_imports_point_one_way_within_the_write_side():
    for path in (PACKAGE / "write").rglob("*.py"):
        here = path.relative_to(PACKAGE / "write").parts[0].removesuffix(".py")
        for module, _, line in imports(path):
            if module.startswith("esnb.write."):
                there = module.split(".")[2]
                assert WRITING.index(there) <= WRITING.index(here), f"{path}:{line}: {module}"


def test_imports_point_one_way_within_the_widgets():
    for path in (PACKAGE / "widget").rglob("*.py"):
        known = WIDGETS.get(path.relative_to(PACKAGE / "widget").parts[0])
        for module, _, line in imports(path):
            if known is not None and module.startswith("esnb.widget."):
                assert module.split(".")[2] in known, f"{path}:{line}: {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_third_party_imports_stay_in_their_bounds(path):
    known = sys.stdlib_module_names | {"esnb", "__future__"}
    for module, at_top, line in imports(path):
        name = module.split(".")[0]
        if name not in known:
            assert name in THIRD_PARTY[place(path)], f"{path}:{line} imports {name}"
            # Nothing imports these but the face, and that only when asked for.
            late = place(path) in ("pandas", "widget") or name not in HEAVY
            assert late or not at_top, f"{path}:{line} imports {name} at the top"


def test_duckdb_is_opened_in_one_place():
    """Opened anywhere else, it would draw its progress bar into what a script reads."""
    assert [path.name for path in FILES if "duckdb.connect(" in path.read_text()] == ["duck.py"]


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    ["import esnb", "import esnb; esnb.open, esnb.create", "import esnb.chart", "import esnb.cli"],
)
def test_importing_is_light(statement):
    assert loaded_after(statement) & HEAVY == set()


def lines_of_code(path: Path) -> int:
    """Count the lines that are neither blank nor docstring nor comment."""
    text = path.read_text()
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            first = body[0]
            if isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                prose.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(text.splitlines(), start=1)
        if number not in prose and line.strip() and not line.lstrip().startswith("#")
    )


def test_no_module_is_too_long():
    assert {str(path): n for path in FILES if (n := lines_of_code(path)) > 400} == {}
