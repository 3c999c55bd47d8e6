"""The timeline without a browser: counts, lanes, marks, the window, notes, code."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import instants
from esnb.chart import event_counts
from esnb.chart.steps import step
from esnb.testing import Clock
from esnb.widget import Session, Timeline
from esnb.widget.events.bins import counted, edges
from esnb.widget.events.marks import MOST_LANES, laid

BAD = '<img src=x onerror="window.__x=1">\u202e$x$'


def rows_of(relation):
    return sorted(relation.fetchall(), key=repr)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    with esnb.create(tmp_path_factory.mktemp("timeline") / "log", zone="Europe/Berlin") as made:
        made.append(
            "order-1",
            [
                esnb.DomainEvent("Placed", {"n": 1}, occurred_on="2026-01-01 10:00+01:00"),
                esnb.DomainEvent(BAD, {"text": BAD}, occurred_on="2026-01-02 10:00+01:00"),
                esnb.DomainEvent("Placed", {"n": 2}, occurred_on="2025-12-30 10:00+01:00"),
            ],
        )
        made.append("order-2", esnb.DomainEvent("Placed", {}, occurred_on="2026-01-02 10:00+01:00"))
        made.append(
            f"bill-{BAD}", esnb.DomainEvent("Sent", {}, occurred_on="2026-02-01 00:00+01:00")
        )
        yield made


def answered(piece, name, /, **given):
    """Ask as the browser does, and read what it would read."""
    answer = piece._answered(name, given)
    json.dumps(dict(answer.content))
    return answer


def marks(piece, cells=100):
    answer = answered(piece, "view", cells=cells)
    found = answer.content
    columns = [np.frombuffer(one, "<f8") for one in answer.buffers[:4]]
    places = [np.frombuffer(one, "<u4") for one in answer.buffers[4:]]
    time, _, position, revision = columns
    lane, kind, stream = places
    return [
        (
            int(time[at]),
            int(position[at]),
            int(revision[at]),
            found["lanes"][lane[at]][0],
            found["types"][kind[at]],
            found["streams"][stream[at]],
        )
        for at in range(found["count"])
    ]


def test_marks_are_the_events_in_sight(log):
    session = Session(log, window=("2026-01-01", "2026-01-03"))
    piece = Timeline(session)
    expected = sorted(
        (
            instants.micros(e.occurred_on),
            e.position,
            e.revision,
            e.event_type,
            e.event_type,
            e.stream,
        )
        for e in log.read()
        if e.occurred_on.astimezone(UTC) >= datetime(2025, 12, 31, 23, tzinfo=UTC)
        and e.occurred_on.astimezone(UTC) < datetime(2026, 1, 2, 23, tzinfo=UTC)
    )
    assert len(expected) == 3
    assert marks(piece) == expected
    assert answered(piece, "view", cells=9).content["lanes"] == [["Placed", 2], [BAD, 1]]


def test_lanes_are_streams_where_few_are_chosen(log):
    session = Session(log, streams=["order-2", "order-1"])
    piece = Timeline(session)
    assert answered(piece, "view", cells=9).content["lanes"] == [["order-1", 3], ["order-2", 1]]
    piece.change(lanes="event_type")
    assert answered(piece, "view", cells=9).content["lanes"] == [["Placed", 3], [BAD, 1]]
    session.clear()
    assert len(marks(piece)) == 5
    with pytest.raises(esnb.QueryError, match="say 'event_type'"):
        piece.change(lanes="actor")


def test_the_window_goes_to_the_session_and_back(log):
    session = Session(log)
    piece = Timeline(session)
    first, last = instants.micros(datetime(2026, 1, 1, tzinfo=UTC)), None
    assert answered(piece, "window", first=first, last=last).content == {"window": [first, None]}
    assert session.window == (datetime(2026, 1, 1, tzinfo=UTC), None)
    assert len(marks(piece)) == 4
    answered(piece, "window", first=None, last=None)
    assert session.window is None
    with pytest.raises(esnb.InstantError, match="outside the years"):
        answered(piece, "window", first=2**62, last=None)


def test_an_event_is_picked_and_stepped_from(log):
    session = Session(log)
    piece = Timeline(session)
    order = [position for _, position, *_ in marks(piece)]
    at = answered(piece, "pick", position=order[0]).content["event"]
    walked = [at["position"]]
    while True:
        found = answered(
            piece, "step", time=at["occurred"], position=at["position"], way="next"
        ).content
        if found["event"] is None:
            break
        at = found["event"]
        walked.append(at["position"])
        assert session.event_id == at["event_id"]
    assert walked == order
    before = answered(
        piece, "step", time=at["occurred"], position=at["position"], way="before"
    ).content
    assert before["event"]["position"] == order[-2]
    assert "U+202E" in json.dumps(answered(piece, "pick", position=1).content["event"]["data"])
    with pytest.raises(esnb.QueryError, match="position 77"):
        answered(piece, "pick", position=77)
    assert answered(piece, "pick", position=None).content == {"event": None}
    assert session.event_id is None


def test_lanes_are_chosen_by_their_names(log):
    session = Session(log)
    piece = Timeline(session)
    answered(piece, "lane", by="event_type", name=BAD)
    assert session.event_types == (BAD,)
    overview = answered(piece, "overview")
    assert (overview.content["total"], overview.content["chosen"]) == (5, 1)
    assert np.frombuffer(overview.buffers[2], "<f8").sum() == 1
    answered(piece, "lane", by="event_type", name=BAD)
    assert session.event_types == ()
    answered(piece, "lane", by="stream", name="order-1")
    assert session.streams.table.to_pydict() == {"stream": ["order-1"]}
    assert np.frombuffer(answered(piece, "overview").buffers[2], "<f8").sum() == 3


def test_notes_are_pinned_starred_and_kept(log):
    piece = Timeline(log, key="notes of this test")
    event = next(iter(log.read()))
    at = instants.micros(event.occurred_on)
    answered(piece, "note", at=at, text=BAD, star=False, event_id=event.event_id)
    answered(piece, "note", at=at, text="", star=True, event_id=event.event_id)
    answered(piece, "note", at=at - 1, text="", star=True)
    assert piece.notes == [
        {"at": event.occurred_on - timedelta(microseconds=1), "text": "", "star": True,
         "event_id": None},
        {"at": event.occurred_on, "text": BAD, "star": True, "event_id": event.event_id},
    ]  # fmt: skip
    assert Timeline(log, key="notes of this test").notes == piece.notes
    # A star alone goes when it is switched off; a note stays.
    answered(piece, "note", at=at - 1, text="", star=True)
    answered(piece, "note", at=at, text="", star=True, event_id=event.event_id)
    assert [(note["text"], note["star"]) for note in piece.notes] == [(BAD, False)]
    assert answered(piece, "find", event_id=event.event_id).content["event"]["position"] == 0
    again = eval(piece.code, {"esnb": esnb, "log": log})  # noqa: S307 (our own text)
    assert again.notes == piece.notes
    answered(piece, "unpin", number=0)
    assert piece.notes == []
    with pytest.raises(esnb.QueryError, match="no note 0"):
        answered(piece, "unpin", number=0)
    with pytest.raises(esnb.QueryError, match="at most 500"):
        answered(piece, "note", at=at, text="x" * 501, star=False)
    with pytest.raises(esnb.QueryError, match="at most 200"):
        piece.change(notes=[{"at": number} for number in range(201)])
    with pytest.raises(esnb.QueryError, match="a note is a dict"):
        Timeline(log, notes=["now"])


def test_its_code_makes_it_anew(log):
    session = Session(
        log, "order", window=("2026-01-01", None), event_types=[BAD], clock="recorded"
    )
    piece = Timeline(session, lanes="stream", notes=[{"at": "2026-01-01", "text": "x'\"\n"}])
    again = eval(piece.code, {"esnb": esnb, "log": log})  # noqa: S307 (our own text)
    assert again.code == piece.code
    assert again.settings == piece.settings
    assert again.session.filters() == session.filters()
    assert rows_of(again.data()) == rows_of(piece.data())


@pytest.mark.parametrize(
    "narrowed",
    [
        {},
        {"window": ("2026-01-01", "2026-01-02 12:00")},
        {"event_types": ["Placed"]},
        {"streams": ["order-1"]},
        {"clock": "recorded"},
    ],
    ids=str,
)
def test_data_are_the_counts_of_the_chart(log, narrowed):
    session = Session(log, "order", **narrowed)
    piece = Timeline(session)
    clock = f"{session.clock}_on"
    assert piece.data().columns == ["time", "event_type", "count"]
    expected = event_counts(session.events(), clock=clock, zone=session.zone)
    assert rows_of(piece.data()) == rows_of(expected)
    assert sum(count for *_, count in piece.data().fetchall()) == len(session.events())
    left = piece.fallback()
    assert "image/png" in left
    assert "<img src=x" not in left["text/html"]


def test_an_empty_log_says_so(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as empty:
        piece = Timeline(empty)
        assert answered(piece, "overview").content["total"] == 0
        assert answered(piece, "view", cells=9).content["lanes"] == []
        assert piece.data().fetchall() == []
        assert piece.title() == "Timeline of all streams: 0 events"
        assert "image/png" in piece.fallback()
        empty.append("a-1", esnb.DomainEvent("Happened", {}))
        # One event: no span at all.
        assert answered(piece, "overview").content["total"] == 1
        assert len(marks(piece)) == 1


def test_bad_sources_and_clocks_are_told(log):
    with pytest.raises(esnb.QueryError, match="an event log or a session"):
        Timeline("data/shop")
    with pytest.raises(esnb.QueryError, match="two sessions"):
        Timeline(Session(log), session=Session(log))
    with pytest.raises(esnb.QueryError, match="is no clock"):
        Timeline(log, clock="wall")
    session = Session(log)
    assert Timeline(log, session=session, clock="recorded").session is session
    assert session.clock == "recorded"


# --- held equal to plain Python ----------------------------------------------------------------

_BEGIN = datetime(2025, 10, 20, tzinfo=UTC)  # clocks change within
_EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),  # stream
        st.integers(0, 40),  # type
        st.one_of(st.integers(0, 3), st.integers(0, 40 * 86_400 * 10**6)),  # occurred
    ),
    min_size=1,
    max_size=40,
)


def written(path, events):
    clock = Clock(_BEGIN + timedelta(days=50))
    log = esnb.create(path, zone="Europe/Berlin", clock=clock)
    for stream, kind, after in events:
        log.append(
            f"{'ab'[stream % 2]}-{stream}",
            esnb.DomainEvent(f"T{kind}", {}, occurred_on=_BEGIN + timedelta(microseconds=after)),
        )
    return log


@settings(max_examples=25, deadline=None)
@given(
    events=_EVENTS,
    category=st.sampled_from([None, "a"]),
    streams=st.sampled_from([None, ["a-0", "b-1"]]),
    window=st.one_of(
        st.none(),
        st.tuples(st.integers(0, 40 * 86_400), st.integers(1, 40 * 86_400)),
    ),
    by=st.sampled_from([None, "event_type", "stream"]),
    most=st.sampled_from([0, 5, 100]),
    cells=st.integers(1, 60),
)
def test_lanes_are_those_of_plain_python(
    tmp_path_factory, events, category, streams, window, by, most, cells
):
    log = written(tmp_path_factory.mktemp("log") / "log", events)
    with log:
        session = Session(log, category, streams=streams)
        if window is not None:
            session.window = tuple(_BEGIN + timedelta(seconds=one) for one in sorted(window))
        low, high = session.window or (None, None)
        kept = [
            e
            for e in log.read()
            if (category is None or e.category == category)
            and (streams is None or e.stream in streams)
            and (low is None or e.occurred_on >= low)
            and (high is None or e.occurred_on < high)
        ]
        counts = counted(session)
        assert counts.total == len(kept)
        tally = Counter(e.event_type for e in kept)
        assert dict(zip(counts.types, counts.sizes.tolist(), strict=True)) == tally
        found = laid(session, by, cells, most, counts=None if session.window else counts)
        if not kept:
            assert found is None
            return
        assert counts.first == min(instants.micros(e.occurred_on) for e in kept)
        by = by or ("stream" if streams else "event_type")
        assert found.by == by
        names = Counter(getattr(e, by) for e in kept)
        ranked = sorted(names, key=lambda name: (-names[name], name))
        own = ranked if len(ranked) <= MOST_LANES else ranked[: MOST_LANES - 1]
        if by == "event_type":
            every = Counter(
                e.event_type for e in log.read() if category is None or e.category == category
            )
            own.sort(key=lambda name: (-every[name], name))
        assert [lane.name for lane in found.lanes if lane.name is not None] == own
        assert sum(lane.events for lane in found.lanes) + found.left_out == len(kept)
        place = {name: own.index(name) if name in own else len(own) for name in names}
        if len(kept) <= most:
            assert found.events.select(["position", "lane"]).to_pylist() == [
                {"position": e.position, "lane": place[getattr(e, by)]}
                for e in sorted(kept, key=lambda e: (e.occurred_on, e.position))
            ]
            return
        expected = np.zeros_like(found.density)
        for e in kept:
            cell = (instants.micros(e.occurred_on) - found.begin) // found.width
            expected[place[getattr(e, by)], cell] += 1
        assert (found.density == expected).all()
        assert found.density.shape[1] <= cells + 1


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(
        st.datetimes(datetime(1974, 1, 1), datetime(2200, 1, 1)).map(
            lambda at: at.replace(tzinfo=UTC)
        ),
        min_size=1,
        max_size=30,
    ),
    wide=st.sampled_from(
        ["1 second", "15 minutes", "6 hours", "1 day", "1 week", "1 month", "3 months", "10 years"]
    ),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]),
)
def test_edges_are_those_of_event_counts(times, wide, zone):
    """Of each time the bar begins where `event_counts` has it begin."""
    first, last = (instants.micros(one) for one in (min(times), max(times)))
    if (last - first) / 1e6 / step(wide).seconds > 100_000:
        times = times[:1]
        first = last = instants.micros(times[0])
    at = edges(step(wide), first, last, zone)
    assert (np.diff(at) > 0).all()
    assert at[0] <= first
    assert at[-1] > last
    table = pa.table(
        {
            "occurred_on": pa.array(times, pa.timestamp("us", "UTC")),
            "event_type": ["x"] * len(times),
        }
    )
    begins = {
        instants.micros(time) for time, *_ in event_counts(table, every=wide, zone=zone).fetchall()
    }
    mine = {int(at[np.searchsorted(at, instants.micros(one), side="right") - 1]) for one in times}
    assert mine == begins
