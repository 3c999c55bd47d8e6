"""CSV and JSON lines: values as they stand, and every bad row to its line."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from esnb.errors import SourceError
from esnb.log import Log
from esnb.source import ImportResult, constant, import_events

ROLES: dict[str, Any] = {
    "category": constant("order"),
    "stream": "id",
    "event_type": "type",
    "occurred_on": "time",
}
HEAD = "id,type,time,note\n"


def csv_file(folder: Path, text: str | bytes, name: str = "in.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(result: ImportResult) -> list[tuple[int, str | None, str]]:
    assert result.read == result.kept + result.duplicates + result.rejected
    assert result.ledger.num_rows == result.rejected
    return [(row["line"], row["field"], row["reason"]) for row in result.ledger.to_pylist()]


def payloads(log: Log) -> list[str]:
    return [event.data_text for event in log.read()]


def test_csv_values_stay_text(log: Log, tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, HEAD + "00123,Placed,2026-03-01T10:00Z,NA\n1e5,Placed,2026-03-02,1e5\n"
    )
    result = import_events(path, log, **ROLES)
    assert refused(result) == []
    assert payloads(log) == ['{"note":"NA"}', '{"note":"1e5"}']
    assert [event.stream for event in log.read()] == ["order-00123", "order-1e5"]


def test_an_empty_field_and_a_null_value_are_missing(log: Log, tmp_path: Path) -> None:
    path = csv_file(tmp_path, HEAD + "1,A,2026-03-01,\n2,A,2026-03-01,?\n3,A,2026-03-01,??\n")
    import_events(path, log, null_values=["?"], **ROLES)
    assert payloads(log) == ['{"note":null}', '{"note":null}', '{"note":"??"}']


def test_declared_types_keep_digits_and_refuse_what_does_not_fit(log: Log, tmp_path: Path) -> None:
    rows = [
        ("1", "12345678901234567890", "100.10"),
        ("2", "1.6", "1"),
        ("3", "7", "1.239"),
        ("4", "-7", "-.5"),
    ]
    text = "id,type,time,count,money\n" + "".join(f"{a},A,2026-03-01,{b},{c}\n" for a, b, c in rows)
    path = csv_file(tmp_path, text)
    types = {"count": "HUGEINT", "money": "DECIMAL(18,2)"}
    result = import_events(path, log, types=types, **ROLES)
    assert [item[:2] for item in refused(result)] == [(3, "count"), (4, "money")]
    assert payloads(log) == [
        '{"count":12345678901234567890,"money":100.10}',
        '{"count":-7,"money":-0.50}',
    ]


def test_a_declared_json_column_nests(log: Log, tmp_path: Path) -> None:
    path = csv_file(tmp_path, HEAD + '1,A,2026-03-01,"{""a"": 1.10}"\n2,A,2026-03-01,{a}\n')
    result = import_events(path, log, types={"note": "json"}, **ROLES)
    assert payloads(log) == ['{"note":{"a": 1.10}}']
    assert refused(result) == [(3, "note", "is no JSON")]


def test_two_columns_of_one_name_both_survive(log: Log, tmp_path: Path) -> None:
    path = csv_file(tmp_path, "id,type,time,category,category,category_2\n1,A,2026-03-01,x,y,z\n")
    import_events(path, log, **ROLES)
    assert json.loads(payloads(log)[0]) == {"category": "x", "category_3": "y", "category_2": "z"}


def test_every_kind_of_bad_csv_row_is_refused_to_its_line(log: Log, tmp_path: Path) -> None:
    lines = [
        b"1,A,2026-03-01T10:00:00Z,good",  # line 2
        b"2,A,yesterday,x",
        b"3,A,2026-03-01T24:00:00Z,x",
        b"4,A,2026-03-01T10:00:00+25:00,x",
        b"5,A,2026-02-30,x",
        b"6,A,2026-03-01T10:00:00.123456789Z,x",  # 7
        b",A,2026-03-01,x",
        b"8,,2026-03-01,x",
        b"9,A,2026-03-01",
        b"10,A,2026-03-01,x,y",
        b"11,A,2026-03-01,\xff",  # 12
        b'12,A,2026-03-01,"two',
        b'lines"',
        b"13," + b"t" * 257 + b",2026-03-01,x",  # 15
        b"14\x00,A,2026-03-01,x",
        b"",
        b"15,A,,x",  # 18
        b'16,A,2026-03-01,"x"y',
        b"17,A,0001-01-01T00:00:00+05:00,x",
        b"18,A,2026-03-01,good",
        b'19,A,2026-03-01,"never closed',
        b"20,A,2026-03-01,x",
    ]
    path = csv_file(tmp_path, HEAD.encode() + b"\n".join(lines) + b"\n")
    result = import_events(path, log, **ROLES)
    found = refused(result)
    assert [line for line, _, _ in found] == [
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
        12,
        15,
        16,
        18,
        19,
        20,
        22,
    ]
    by_line = {line: (field, reason) for line, field, reason in found}
    assert by_line[7][1].startswith("finer than a microsecond")
    assert by_line[8] == ("stream", "is missing")
    assert by_line[9] == ("event_type", "is missing")
    assert by_line[10] == (None, "has 3 fields, the header has 4")
    assert by_line[12] == (None, "is not UTF-8")
    assert by_line[16] == ("stream", "holds a NUL character")
    assert by_line[18] == ("occurred_on", "is missing")
    assert "never closed" in by_line[22][1]
    assert "swallowed the lines to 23" in by_line[22][1]
    assert payloads(log) == ['{"note":"two\\nlines"}', '{"note":"good"}', '{"note":"good"}']


def test_naive_times_need_a_zone(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, HEAD + "1,A,2026-03-29 02:30,x\n2,A,2026-10-25 02:30,x\n3,A,2026-03-01Z,x\n"
    )
    with Log.create(tmp_path / "a") as log:
        result = import_events(path, log, **ROLES)
        assert [item[0] for item in refused(result)] == [2, 3, 4]
        assert "time zone" in refused(result)[0][2]
    with Log.create(tmp_path / "b") as log:
        result = import_events(path, log, zone="Europe/Berlin", **ROLES)
        assert "skipped" in refused(result)[0][2]
        # Of the two 02:30 the first, as everywhere in esnb.
        assert [event.occurred_on.isoformat() for event in log.read()] == [
            "2026-10-25T00:30:00+00:00"
        ]


def test_time_formats(log: Log, tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, HEAD + "1,A,1/3/2026 9:05,x\n2,A,1/3/26 9:05,x\n3,A,31/2/2026 9:05,x\n"
    )
    result = import_events(path, log, time_format="%d/%m/%Y %H:%M", **ROLES)
    assert [item[0] for item in refused(result)] == [3, 4]
    assert next(log.read()).occurred_on.isoformat() == "2026-03-01T09:05:00+00:00"
    path = csv_file(tmp_path, HEAD + "5,A,01.03.2026 09:05 +0100,x\n")
    import_events(path, log, time_format="%d.%m.%Y %H:%M %z", **ROLES)
    path = csv_file(tmp_path, HEAD + "6,A,1772356500123,x\n7,A,soon,x\n8,A,99999999999999999,x\n")
    result = import_events(path, log, time_format="epoch_ms", **ROLES)
    assert [item[0] for item in refused(result)] == [3, 4]
    times = {event.stream: event.occurred_on.isoformat() for event in log.read()}
    assert times["order-5"] == "2026-03-01T08:05:00+00:00"
    assert times["order-6"] == "2026-03-01T09:15:00.123000+00:00"
    with pytest.raises(SourceError, match="time_format"):
        import_events(path, log, time_format="%Q", **ROLES)


@pytest.mark.parametrize(
    "line",
    [
        '{"id": 1, "x": NaN}',
        '{"id": 1, "x": Infinity}',
        '{"id": 1, "x": 1e400}',
        '{"id": 1, "x": 1, "x": 2}',
        '{"id": 1, "x": ' + "[" * 65 + "]" * 65 + "}",
        '{"id": 1, "x": ' + "[" * 10_000 + "]" * 10_000 + "}",
        '{"id": 1, "x": "\\ud800"}',
        '{"id": 1, "x": 1,}',
        '{"id": 1, "x": [1,]}',
        "[1]",
        '"text"',
        "{",
        "not json",
    ],
)
def test_json_that_is_not_strict_is_refused(log: Log, tmp_path: Path, line: str) -> None:
    good = '{"id": 1, "type": "A", "time": "2026-03-01", "x": 12345678901234567.890}'
    path = csv_file(tmp_path, f"{good}\n\n{line}\n", "in.jsonl")
    result = import_events(path, log, **ROLES)
    assert [item[:2] for item in refused(result)] == [(3, None)]
    assert payloads(log) == ['{"x":12345678901234567.890}']
    with pytest.raises(SourceError, match="line 3"):
        import_events(path, log, errors="raise", **ROLES)


def test_json_values_keep_their_letters(log: Log, tmp_path: Path) -> None:
    line = (
        '{ "id":7 ,"type":"A","time":"2026-03-01T00:00:00Z", "n": 1.10, "big":9007199254740993,'
        '"e":1E+2, "k\\"ey" : {"a" : [1.0, {"b":null}]}, "s":"\\u00e9/\\/", "z":null}'
    )
    path = csv_file(tmp_path, "\ufeff" + line + "\r\n", "in.ndjson")
    import_events(path, log, **ROLES)
    assert payloads(log) == [
        '{"n":1.10,"big":9007199254740993,"e":1E+2,"k\\"ey":{"a" : [1.0, {"b":null}]},'
        '"s":"\\u00e9/\\/","z":null}'
    ]
    assert next(log.read()).stream == "order-7"


def test_invalid_utf8_in_json_lines(log: Log, tmp_path: Path) -> None:
    path = csv_file(tmp_path, b'{"id":1,"type":"A","time":"2026-03-01","x":"\xff"}\n', "in.jsonl")
    with pytest.raises(SourceError, match="columns are"):
        import_events(path, log, **ROLES)
    path = csv_file(
        tmp_path,
        b'{"id":1,"type":"A","time":"2026-03-01"}\n{"id":1,"type":"A","x":"\xff"}\n',
        "in.jsonl",
    )
    assert refused(import_events(path, log, **ROLES)) == [(2, None, "is not UTF-8")]


def test_a_column_of_json_text_is_kept_to_the_letter(log: Log, tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        'id,type,time,body\n1,A,2026-03-01,"{""b"": 1.10, ""a"":2}"\n2,A,2026-03-01,"{""a"":NaN}"\n'
        "3,A,2026-03-01,[1]\n4,A,2026-03-01,\n",
    )
    result = import_events(path, log, data="body", **ROLES)
    assert payloads(log) == ['{"b": 1.10, "a":2}']
    assert [item[:2] for item in refused(result)] == [(3, "data"), (4, "data"), (5, "data")]


def test_packed_files(log: Log, tmp_path: Path) -> None:
    text = HEAD + "1,A,2026-03-01,x\n"
    packed = tmp_path / "in.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert import_events(packed, log, **ROLES).kept == 1
    archive = tmp_path / "in.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("folder/", "")
        made.writestr("folder/in.csv", text)
    assert import_events(archive, log, **ROLES).duplicates == 1
    with zipfile.ZipFile(archive, "a") as made:
        made.writestr("other.csv", text)
    with pytest.raises(SourceError, match="2 files"):
        import_events(archive, log, **ROLES)
    packed.write_bytes(gzip.compress(text.encode())[:-12])
    with pytest.raises(SourceError, match="cut short"):
        import_events(packed, log, **ROLES)


@pytest.mark.parametrize("kind", ["gz", "zip", "xes.gz"])
def test_compression_bombs_are_refused(
    log: Log, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esnb.source.opened.FREE_BYTES", 4 << 20)
    text = HEAD.encode() + b"1,A,2026-03-01,x\n" * 1_000_000
    path = tmp_path / f"bomb.{'csv.' if kind == 'gz' else ''}{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("bomb.csv", text)
    elif kind == "gz":
        path.write_bytes(gzip.compress(text))
    else:
        path.write_bytes(gzip.compress(b"<log>" + b" " * (16 << 20) + b"</log>"))
    with pytest.raises(SourceError, match="bomb"):
        import_events(path, log, **(ROLES if kind != "xes.gz" else {}))
    assert log.next_position == 0


def test_files_that_cannot_be_read_say_what_to_do(log: Log, tmp_path: Path) -> None:
    cases: list[tuple[Path, str]] = [
        (tmp_path / "absent.csv", "Check the path"),
        (tmp_path, "is a folder"),
        (csv_file(tmp_path, "", "empty.csv"), "no header"),
        (csv_file(tmp_path, "x", "data.bin"), "format="),
        (csv_file(tmp_path, "[{}]", "array.json"), "one JSON array"),
        (csv_file(tmp_path, HEAD.encode("utf-16"), "wide.csv"), "UTF-16"),
        (csv_file(tmp_path, "PAR1", "bad.parquet"), "Parquet"),
        (csv_file(tmp_path, "PK", "bad.zip"), "zip"),
    ]
    for path, words in cases:
        with pytest.raises(SourceError, match=words):
            import_events(path, log, **ROLES)


def test_separators(log: Log, tmp_path: Path) -> None:
    text = HEAD + '1,A,2026-03-01,"a,b;c"\n'
    import_events(
        csv_file(tmp_path, text.replace(",", ";").replace('"a;b;c"', '"a,b;c"')), log, **ROLES
    )
    path = csv_file(tmp_path, "id\ttype\ttime\tnote\n2\tA\t2026-03-01\tb,c\n", "in.tsv")
    import_events(path, log, **ROLES)
    assert payloads(log) == ['{"note":"a,b;c"}', '{"note":"b,c"}']
