select count(*) from events
from events
from events select category where position = 3
from events limit 3
from events where data->>'$.amount' = '3'
select data->>'amount' as amount, data->'amount' from events
select e.data, e.position from events as e
with a as (select * from events) select category, count(*) from a group by all order by all
with a as materialized (from events) from a
with recursive r as (select 1 x union all select x + 1 from r where x < 5) from r
with recursive r(x) using key (x) as (select 1 union select x + 1 from r where x < 3) from r
select * from events order by position desc nulls last limit 2 offset 1
select * from events limit 10%
select distinct on (category) * from events order by category, position
select sum(position) over w from events window w as (partition by category order by position)
select lag(position) over (order by position rows between 1 preceding and 1 following) from events
select position from events qualify row_number() over (partition by category order by position) = 1
select a.position from events a asof join events b on a.position >= b.position
select * from events a join events b using (position)
select * from events a semi join events b using (position)
select * from events a anti join events b using (position)
select * from events a positional join events b
select * from events, unnest(tags) t(tag)
select unnest(tags) from events
select * from events, json_each(data)
select * from events, json_tree(data)
select * from range(3) with ordinality
select * from generate_series(timestamp '2026-01-01', timestamp '2026-02-01', interval 1 day)
select * from repeat('x', 3)
select * from events using sample 3
select * from events tablesample reservoir(3 rows) repeatable (3)
select category, count(*), grouping(category) from events group by rollup (category)
select count(*) from events group by grouping sets ((category), ())
select count(*) filter (where position > 2), list(position order by position desc) from events
select * exclude (data) replace (1 as revision) rename (position as p) from events
select columns('pos.*') from events
select [x + 1 for x in [1, 2] if x > 1], list_transform([1], lambda x: x + 1)
select {'a': 1}.a, map {'a': 1}['a'], [1, 2, 3][1:2], row(1, 2)
select 1 between 0 and 2, 1 in (1, 2), 1 = any (select 1), exists (from events), not true
select 'a' like 'b', 'a' ilike 'b' escape 'c', 'a' glob 'b', 'a' similar to 'b', 'a' collate nocase
select '1'::int, try_cast('x' as int), 1::decimal(10, 2), [1]::bigint[], try(cast('x' as int))
select date '2026-01-01' + interval 3 days, extract(year from now()), current_date
select time_bucket(interval 1 day, occurred_on), date_trunc('month', recorded_on) from events
select occurred_on at time zone 'Asia/Tokyo', strftime(occurred_on, '%Y-%m') from events
select case when position > 2 then 'a' else 'b' end, coalesce(actor, '?') from events
select regexp_matches(stream, '^o.*'), regexp_extract(stream, '(\d+)$', 1) from events
select quantile_cont(position, 0.5), approx_count_distinct(stream), histogram(category) from events
select sha256(data), md5(data), uuid(), random(), version() from events
select current_setting('TimeZone')
pivot events on category in ('order', 'customer') using count(*)
from events pivot (count(*) for category in ('order'))
unpivot (select 1 a, 2 b) on a, b
select 1 union select 2
select 1 union all by name select 2
select 1 except all select 2 intersect select 3
values (1), (2)
table events
describe events
describe select 1
summarize events
summarize select position from events
show tables
show all tables
show databases
select * from (describe events)
select * from information_schema.columns
select events from events limit 1
select position as "x.y/z" from events as "q r"
select 'from ''/etc/passwd''; drop table events' as text
select 1; -- and a remark
(select 1) order by 1
select "position" from temp.main.events
