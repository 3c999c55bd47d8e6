copy (select 1 id) to '{file}'
copy (select 1 id) to '{log}/x.parquet' (format parquet, use_tmp_file false)
copy (select 1 id) to '{out}/x.csv'
copy events from '{file}'
insert into events values (1)
delete from events
update events set position=1
merge into events using (select 1) b on true when matched then delete
truncate events
drop view events
create table t as select 1
create temp table q as select 1
create or replace view events as select 1
create macro sum(x) as 0
create temp macro events() as table select 1
create trigger t after insert on x for each row select 1
create secret (type s3)
create persistent secret s (type s3)
create schema s
create sequence s
create type t as enum ('a')
create index i on events(position)
alter view events rename to e2
comment on view events is 'x'
attach '{log}/a.duckdb'
attach '{out}/a.duckdb' as a
detach memory
use memory
export database '{log}/e'
import database '{log}'
set threads=9
set memory_limit='1TB'
set variable a=1
set enable_external_access=true
set lock_configuration=false
reset threads
pragma enable_profiling
pragma database_list
call enable_logging()
call range(3)
install httpfs
load x
begin
commit
checkpoint
vacuum
analyze
prepare p as select 1
execute p
deallocate p
explain analyze copy (select 1) to '{out}/x.csv'
connect 'x'
