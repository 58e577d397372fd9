-- What is not stored has no races, and that is not good news: it is said.
INSERT INTO trace_ext.events (trace_id, id, "timestamp", kind, name, attributes)
VALUES ('00000000-0000-0000-0000-0000000000aa', '00000000-0000-0000-0000-0000000000ab', '2001-02-03 04:05:06+00', 'StateChange', 'known', '{"access_type": "Write"}');
SELECT count(*) FROM trace_ext.find_races('00000000-0000-0000-0000-0000000000aa'::uuid);
SELECT count(*) FROM trace_ext.find_races('00000000-0000-0000-0000-0000000000ac'::uuid);
SELECT count(*) FROM trace_ext.find_races('00000000-0000-0000-0000-0000000000ac'::varchar);
SELECT trace_ext.count_races('00000000-0000-0000-0000-0000000000ac'::varchar);
SELECT count(*) FROM trace_ext.audit_trail('00000000-0000-0000-0000-0000000000aa', 'known');
SELECT count(*) FROM trace_ext.audit_trail('00000000-0000-0000-0000-0000000000aa', 'unknown');
SELECT count(*) FROM trace_ext.audit_trail('00000000-0000-0000-0000-0000000000ac'::varchar, 'known'::varchar);
SELECT count(*) FROM trace_ext.find_variable_races('known');
SELECT count(*) FROM trace_ext.find_variable_races('known', '2011-01-01');
SELECT count(*) FROM trace_ext.find_variable_races('unknown');
-- Said again where the answer was kept.
SELECT count(*) FROM trace_ext.find_variable_races('unknown');
SELECT count(*) FROM trace_ext.global_races(variable => 'known');
SELECT count(*) FROM trace_ext.global_races(variable => 'unknown');
SELECT count(*) >= 0 AS a_severity FROM trace_ext.global_races('critical');
SELECT count(*) FROM trace_ext.global_races('HIGH');
-- Numbers as drivers send them.
SELECT count(*) FROM trace_ext.list_traces(20::bigint, 1::bigint, search => '00000000-0000-0000-0000-0000000000aa');
SELECT count(*) FROM trace_ext.list_traces(20::smallint, page => 9223372036854775807);
SELECT count(*) FROM trace_ext.trace_events('00000000-0000-0000-0000-0000000000aa', page => 9223372036854775807);
SELECT count(*) FROM trace_ext.global_races(page_size => 10::bigint, page => 9223372036854775807);
DELETE FROM trace_ext.events WHERE trace_id = '00000000-0000-0000-0000-0000000000aa';
