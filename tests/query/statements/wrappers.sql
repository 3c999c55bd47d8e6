{s}
with t as ({s}) select * from t
with t as materialized ({s}) select 1
select * from (with t as ({s}) select * from t)
select 1; {s}
{s}; select 1
/* select */ {s}
-- select 1 {newline} {s}
explain {s}
explain analyze {s}
select (with t as ({s}) select count(*) from t)
select 1 where exists (with t as ({s}) from t)
from (with recursive r as (select 1 union all ({s})) from r)
select * from query('{q}')
select 1 union all (with t as ({s}) select 1 from t)
with a as (with t as ({s}) from t) from a
values ((with t as ({s}) select 1 from t))
