select * from read_text('{secret}')
select * from read_text('/etc/passwd')
select * from read_blob('{secret}')
select * from read_csv('{secret}')
select * from read_csv_auto('{secret}')
select * from read_json('{secret}')
select * from read_parquet('{file}')
select * from parquet_scan('{file}')
select * from parquet_metadata('{file}')
select * from parquet_schema('{file}')
select * from parquet_kv_metadata('{file}')
select * from parquet_file_metadata('{file}')
select * from parquet_bloom_probe('{file}', 'stream', 'x')
select * from glob('{log}/*')
select * from sniff_csv('{secret}')
select * from read_duckdb('{file}')
select * from main.read_text('{secret}')
select * from system.main.read_text('{secret}')
select * from "read_text"('{secret}')
select * from READ_TEXT('{secret}')
from '{secret}'
from '/etc/passwd'
from '{file}'
from "{file}"
from 'secret.csv'
from "https://example.com/a.csv"
from 's3://bucket/a.parquet'
from 'file:a.json'
from 'a*'
select * from '{file}' as events
select (select count(*) from '{file}')
select 1 where 1 in (from '{file}')
with x as (from '{file}') from x
with recursive x as (select 1 union all select 1 from '{file}') from x
with "a.csv" as (select 1) from 'a.csv'
select * from events join '{file}' using (position)
select * from events, lateral (from '{file}')
pivot '{file}' on category in ('a') using count(*)
describe '{file}'
describe select * from '{file}'
summarize '{file}'
show '{file}'
table '{file}'
select * from (describe '{file}')
select * from (summarize '{secret}')
select count(*) over (order by (select 1 from '{file}')) from events
select * from events order by (select 1 from '{file}')
select * from events limit (select count(*) from '{file}')
select count(*) filter (where exists (from '{file}')) from events
select [x for x in (select list(a) from '{file}' t(a))]
select case when true then (select 1 from '{file}') end
select list_transform([1], lambda x: (select 1 from '{file}'))
select * from events at (version => 1)
select * from query_table('events')
select * from query_table(['events', '{file}'])
select * from query('from events')
select * from duckdb_secrets()
select * from which_secret('s3://a', 's3')
select * from duckdb_settings()
select * from duckdb_logs()
select * from duckdb_logs
select * from pragma_database_list
select * from sqlite_master
select * from duckdb_functions()
select * from duckdb_external_file_cache()
select * from duckdb_temporary_files()
select * from pragma_table_info('events')
select * from pragma_storage_info('events')
select * from checkpoint()
select * from force_checkpoint()
select * from truncate_duckdb_logs()
select * from enable_logging(storage='file', storage_config={{'path': '{log}/l'}})
select * from enable_profiling()
select * from arrow_scan(1, 2, 3)
select * from arrow_scan_dumb(1, 2, 3)
select * from pandas_scan(1)
select * from python_map_function(1)
select * from seq_scan('events')
select * from summary((from events))
select * from json_execute_serialized_sql(json_serialize_sql('select 1'))
select * from histogram_values('{file}', a)
select * from histogram('{file}', a)
select * from test_all_types()
select * from repeat_row(1, num_rows=1000)
select * from st_read('{secret}')
select * from sqlite_scan('{secret}', 'a')
select * from postgres_query('a', 'b')
select * from iceberg_scan('{log}')
select * from delta_scan('{log}')
select * from load_aws_credentials()
select getenv('ESNB_TEST_TOKEN')
select GETENV('ESNB_TEST_TOKEN')
select "getenv"('ESNB_TEST_TOKEN')
select main.getenv('ESNB_TEST_TOKEN')
select ('ESNB_TEST_TOKEN').getenv()
select write_log('x')
select sleep_ms(5)
select pg_sleep(0.005)
select nextval('s')
select setseed(0.1)
select json_serialize_plan('select 1')
select list_transform(['ESNB_TEST_TOKEN'], lambda x: getenv(x))
select * from events qualify getenv('a') = 'b'
select 1 group by getenv('a')
select max(getenv('a')) over () from events
values (getenv('a'))
select * replace (getenv('a') as stream) from events
