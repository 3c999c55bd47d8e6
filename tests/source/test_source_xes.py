"""XES: nothing lost, nothing unsafe, and the short way equal to the long one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esnb.errors import SourceError
from esnb.log import Log
from esnb.source import ImportResult, import_events
from esnb.source.ledger import Ledger
from esnb.source.load import open_source
from esnb.source.roles import Column, Members, wants
from esnb.source.xesblock import parse

LOG = """<?xml version="1.0" encoding="UTF-8" ?>
<!-- made by hand: <trace> -->
<log xes.version="1.0" xmlns="http://www.xes-standard.org/">
  <extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
  <global scope="event"><string key="concept:name" value="UNKNOWN"/></global>
  <classifier name="Activity" keys="concept:name"/>
  <string key="concept:name" value="Trial"/>
  <trace>
    <string key="concept:name" value="A &amp; B"/>
    <float key="amount" value="100.10"/>
    <string key="amount" value="again"/>
    <event>
      <string key="concept:name" value="Start"/>
      <date key="time:timestamp" value="2026-03-01T10:00:00.000+01:00"/>
      <string key="org:resource" value="ann"/>
      <int key="count" value="9007199254740993"/>
      <boolean key="flag" value="true"/>
      <id key="other" value="7f"/>
      <string key="nested" value="outer"><string key="inner" value="x"><int key="deep" value="1"/>
      </string></string><list key="items">
      <values><string key="a" value="1"/><string key="a" value="2"/></values></list>
      <container key="box"><float key="w" value="1.50"/></container>
    </event>
    <event>
      <string key="concept:name" value="No time"/>
    </event>
    <event>
      <date key="time:timestamp" value="2026-03-01T10:00:00Z"/>
    </event>
    <event>
      <string key="concept:name" value="Bad"/>
      <date key="time:timestamp" value="2026-03-01T10:00:00Z"/>
      <float key="cost" value="NaN"/>
    </event>
    <event>
      <string key="concept:name" value="Naive"/>
      <date key="time:timestamp" value="2026-03-01T10:00:00"/>
    </event>
    <event/>
  </trace>
  <trace><string key="concept:name" value="empty"/></trace>
  <trace><event>
      <string key="concept:name" value="Nameless"/>
      <date key="time:timestamp" value="2026-03-01T10:00:00Z"/>
  </event></trace>
  <event><string key="concept:name" value="Stray"/></event>
</log>
"""


def xes_file(folder: Path, text: str, name: str = "in.xes") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def bad(result: ImportResult) -> list[tuple[int, str | None, str]]:
    assert result.read == result.kept + result.duplicates + result.rejected
    return [(row["line"], row["field"], row["reason"]) for row in result.ledger.to_pylist()]


def test_nothing_is_lost(tmp_path: Path) -> None:
    with Log.create(tmp_path / "log") as log:
        result = import_events(xes_file(tmp_path, LOG), log)
        (event,) = log.read()
    assert (event.stream, event.event_type, event.actor) == ("case-A & B", "Start", "ann")
    assert event.occurred_on.isoformat() == "2026-03-01T09:00:00+00:00"
    assert event.data_text == (
        '{"count":9007199254740993,"flag":true,"other":"7f","nested":{"value":"outer",'
        '"attributes":{"inner":{"value":"x","attributes":{"deep":1}}}},'
        '"items":[{"a":"1"},{"a":"2"}],"box":[{"w":1.50}],'
        '"case:amount":100.10,"case:amount_2":"again"}'
    )
    assert event.metadata_text == '{"log:concept:name":"Trial"}'
    found = bad(result)
    assert [line for line, _, _ in found] == [24, 27, 30, 35, 39, 41, 42, 46]
    assert found[0][1:] == ("occurred_on", "is missing (event 2 of trace 'A & B')")
    assert found[1][1:] == ("event_type", "is missing (event 3 of trace 'A & B')")
    assert found[2][1] == "cost"
    assert "event 4" in found[2][2]
    assert "time zone" in found[3][2]
    assert found[5][2] == "is a trace without events"
    assert found[6][1:] == ("stream", "is missing (event 1 of trace None)")
    assert found[7][2] == "stands in no trace"


def test_roles_of_ones_own(tmp_path: Path, log: Log) -> None:
    path = xes_file(tmp_path, LOG)
    import_events(path, log, category="order", data=["count", "case:amount"], tags=["other"])
    first = next(log.read())
    assert first.stream == "order-A & B"
    assert first.data_text == '{"count":9007199254740993,"case:amount":100.10}'
    assert first.tags == ("other:7f",)
    second = import_events(path, log, event_type=lambda row: row["concept:name"] + "ed")
    assert second.kept == 2  # the naive one too: this log declares its zone
    with pytest.raises(SourceError, match="concept:name"):
        import_events(path, log, event_type=lambda row: "x", stream="concept:nam")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE log [<!ENTITY a "b">]><log/>', "document type"),
        ('<!DOCTYPE log SYSTEM "file:///etc/passwd"><log/>', "document type"),
        ("<log>" + "<a>" * 70 + "</a>" * 70 + "</log>", "nested more than 64"),
        ("<log><trace>" + "<a>" * 2_000_000, "nested more than 64"),
        ("<log><trace><event></trace></log>", "mismatched tag"),
        ("<log><trace>", "no element found"),
        ("<log>&nope;</log>", "undefined entity"),
        ("<html/>", "no XES"),
        ("", "no element found"),
        ("no xml", "syntax error"),
        ("<log>\x01</log>", "not well-formed"),
    ],
)
def test_unsafe_or_broken_files_are_refused(
    log: Log, tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(SourceError, match=words):
        import_events(xes_file(tmp_path, text), log)
    assert log.next_position == 0


def test_bytes_that_are_not_utf8(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "in.xes"
    event = b'<event><string key="concept:name" value="\xff"/></event>'
    path.write_bytes(b"<log><trace>" + event + b"</trace></log>")
    with pytest.raises(SourceError, match="not well-formed"):
        import_events(path, log)
    path.write_bytes(
        '<?xml version="1.0" encoding="iso-8859-1"?><log><trace>'
        '<string key="concept:name" value="é"/><event><string key="concept:name" value="ü"/>'
        '<date key="time:timestamp" value="2026-03-01T10:00:00Z"/></event></trace></log>'.encode(
            "latin-1"
        )
    )
    import_events(path, log)
    assert [(event.stream, event.event_type) for event in log.read()] == [("case-é", "ü")]


def test_a_commented_trace_is_none(log: Log, tmp_path: Path) -> None:
    trace = (
        '<trace><string key="concept:name" value="{}"/>'
        '<event><string key="concept:name" value="X"/>'
        '<date key="time:timestamp" value="2026-03-01T10:00:00Z"/></event></trace>'
    )
    a, b, c, d = (trace.format(name) for name in "abcd")
    text = f"<log><!-- {a} -->{b}<!-- {c}\n -->\n{d}<x>{a}</x></log>"
    result = import_events(xes_file(tmp_path, text), log)
    assert {event.stream for event in log.read()} == {"case-b", "case-d"}
    assert result.rejected == 0


TEXT = st.text(
    st.characters(
        exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=9
    ).filter(lambda c: c >= " " or c in "\t\n\r"),
    max_size=8,
)
KEYS = st.sampled_from(
    ["concept:name", "time:timestamp", "org:resource", "cost", "a b", "ü", "case:cost"]
)
VALUES = st.one_of(
    st.tuples(st.just("string"), TEXT),
    st.tuples(st.just("int"), st.integers().map(str) | st.just("x")),
    st.tuples(st.just("float"), st.floats().map(str)),
    st.tuples(st.just("boolean"), st.sampled_from(["true", "false", "0", "maybe"])),
    st.tuples(st.just("date"), st.sampled_from(["2026-03-01T10:00:00Z", "2026-03-01", "never"])),
)
ATTRIBUTE = st.tuples(KEYS, VALUES)
TRACES = st.lists(
    st.tuples(
        st.lists(ATTRIBUTE, max_size=3), st.lists(st.lists(ATTRIBUTE, max_size=5), max_size=4)
    ),
    max_size=4,
)


def written(traces: Any) -> str:
    def attribute(item: Any) -> str:
        key, (kind, value) = item
        value = quoteattr(value, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
        return f"<{kind} key={quoteattr(key)} value={value}/>\n"

    parts = ["<log>\n"]
    for own, events in traces:
        parts += ["<trace>", *map(attribute, own)]
        for event in events:
            parts += ["<event>", *map(attribute, event), "</event>\n"]
        parts.append("</trace>\n")
    return "".join([*parts, "</log>"])


EVERYTHING = Members(None)


def read_all(path: Path, data: Members = EVERYTHING) -> tuple[Any, Any, int]:
    roles = {
        "stream": Column("case:concept:name"),
        "actor": Column("org:resource"),
        "data": data,
    }
    ledger = Ledger("x", "reject")
    rows = []
    for batch in open_source(path).read(wants(roles), ledger):
        texts = [json.loads(text) for text in batch.built["data"].to_pylist()]
        rows += zip(
            batch.lines.to_pylist(),
            *(column.to_pylist() for column in batch.columns.columns),
            texts,
            [batch.where(row) for row in range(len(texts))],
            strict=True,
        )
    return rows, ledger.take(), ledger.read


@given(
    TRACES,
    st.sampled_from(
        [
            EVERYTHING,
            Members(None, frozenset({"case:concept:name", "cost", "ü"})),
            Members(("cost", "case:cost", "case:ü", "nowhere", "a b")),
        ]
    ),
)
def test_the_short_way_reads_what_expat_reads(
    tmp_path_factory: pytest.TempPathFactory, traces: Any, data: Members
) -> None:
    folder = tmp_path_factory.mktemp("xes")
    text = written(traces)
    # An empty comment after the first trace's start makes every trace go to expat.
    long = text.replace("<log>", "<log><x><!-- <trace> -->", 1).replace("<x>", "", 1)
    short = read_all(xes_file(folder, text), data)
    assert read_all(xes_file(folder, long, "long.xes"), data) == short
    assert short[2] == len(short[0]) + len(short[1])


def test_a_plain_block() -> None:
    """Two traces, cut at their quotes."""
    block = parse(
        b'<trace>\n<string key="n" value="a"/>\n<event>\n<int key="i" value="1" />'
        b'<string key="n" value="x > y"/></event>\n<event><int key="i" value="2"/></event></trace>'
        b'\n<trace><event><id key="n" value=""/>\n</event></trace>'
    )
    assert block is not None
    assert block.values.to_pylist() == ["a", "1", "x > y", "2", ""]
    assert [block.key_names[key] for key in block.key_of] == ["n", "i", "n", "i", "n"]
    assert [block.TAGS[tag] for tag in block.tags] == ["string", "int", "string", "int", "id"]
    assert block.event.tolist() == [-1, 0, 0, 1, 2]
    assert block.trace.tolist() == [0, 0, 0, 0, 1]
    assert block.trace_of.tolist() == [0, 0, 1]
    assert block.lines.tolist() == [2, 4, 5]
    assert block.numbers.tolist() == [1, 2, 1]


A = '<string key="k" value="v"/>'


@pytest.mark.parametrize(
    "odd",
    [
        "<trace></trace>",
        f"<trace>{A}</trace>",
        "<trace><event></event></trace>",
        f"<trace><event>{A}{A}</event></trace>",
        f"<trace>{A}<event>{A}</event>{A}</trace>",
        f"<trace><event>{A}</event><event></event></trace>",
        f"<trace><event>{A}<event>{A}</event></event></trace>",
        f"<trace><event>{A}</trace></event><trace></trace>",
        "<trace><event><string key='k' value='v'/></event></trace>",
        '<trace><event><string key="k" value="v"></string></event></trace>',
        '<trace><event><string key="k" value="&lt;"/></event></trace>',
        '<trace><event><string key="k" value="<"/></event></trace>',
        '<trace><event><string key="k" value="a\nb"/></event></trace>',
        '<trace><event><string key="k\t" value="v"/></event></trace>',
        '<trace><event><string key="k" value="\x01"/></event></trace>',
        '<trace><event><string key="k" value="\uffff"/></event></trace>',
        '<trace><event><string value="v" key="k"/></event></trace>',
        '<trace><event><list key="k" value="v"/></event></trace>',
        '<trace><event><string key="case:k" value="v"/></event></trace>',
        f"<trace><event>{A}<!-- --></event></trace>",
        f"<trace><event>{A}text</event></trace>",
        f"<trace><event>{A}</event></trace><x/><trace><event>{A}</event></trace>",
    ],
)
def test_what_is_not_plain_is_not_taken(odd: str) -> None:
    """Alone, and between plain traces."""
    plain = f"<trace><event>{A}</event></trace>"
    assert parse(plain.encode()) is not None
    assert parse(odd.encode()) is None
    assert parse((plain + odd + plain).encode()) is None


def test_lines_of_a_mixed_file(tmp_path: Path) -> None:
    """Plain traces, odd ones and gaps of many lines: each event has the line it stands on."""
    odd = ["plain", "plain", "A &amp; B", "plain", "<", "plain", "plain"]
    lines, text = [], "<?xml version='1.0'?>\n\n<log>\n\n\n"
    for number, name in enumerate(odd * 5):
        text += "<trace>\n" + "\n" * (number % 3)
        text += f'<string key="concept:name" value="{name.replace("<", "&lt;")}"/>\n'
        for _ in range(number % 4 + 1):
            text += "\n" * (number % 2)
            lines.append(text.count("\n") + 1)
            text += '<event><date\n key="time:timestamp"' if number == 17 else "<event><date key="
            text += (
                ' value="2026-03-01T10:00:00Z"/>\n'
                if number == 17
                else ('"time:timestamp" value="2026-03-01T10:00:00Z"/>\n')
            )
            text += '<string key="concept:name" value="X"/></event>\n'
        text += "</trace>" + "\n" * (number % 5)
    rows, refused, read = read_all(xes_file(tmp_path, text + "</log>"))
    assert [row[0] for row in rows] == lines
    assert {row[1] for row in rows} == {"plain", "A & B", "<"}
    assert (refused, read) == ([], len(lines))


def test_a_packed_file_twice_adds_nothing(log: Log, tmp_path: Path) -> None:
    path = tmp_path / "in.xes.gz"
    path.write_bytes(gzip.compress(LOG.encode()))
    first = import_events(path, log)
    again = import_events(path, log)
    assert (first.kept, again.kept, again.duplicates) == (2, 0, 2)
