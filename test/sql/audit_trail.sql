-- The trail of a variable: links, races with any access, remarks.
\getenv inputdir PG_ABS_SRCDIR
\set programs :inputdir '/data/programs.sql'
SET client_min_messages = warning;
\i :programs
CREATE FUNCTION pg_temp.trail_of(program text)
    RETURNS TABLE (label text, access trace_ext.access_type, old_value jsonb, value jsonb, thread_id text, service_name text,
                   location text, strand int, link text, in_race boolean, remark text) LANGUAGE plpgsql AS $$
DECLARE
    this int := pg_temp.load_program(program);
BEGIN
    RETURN QUERY
        SELECT p.label, t.access, t.old_value, t.value, t.thread_id, t.service_name, t.location, t.strand, t.link, t.in_race, t.remark
          FROM trace_ext.audit_trail((SELECT trace_id FROM program_events WHERE run = this LIMIT 1), 'x') t
          JOIN program_events p ON p.run = this AND p.id = t.event_id;
END $$;

-- The race of a and d is seen though other accesses lie between them.
SELECT * FROM pg_temp.trail_of($$
    a - T1 w x old=0 new=1
    s a T1 spawn job
    b s T1 r x new=1
    c s job r x new=1
    d - T9 w x old=1 new=2
    e b T1 w y$$);
-- A race with another trace only.
SELECT * FROM pg_temp.trail_of($$
    trace A
    a - T1 r x new=1 at=1
    b a T1 w x old=2 new=3 at=9
    trace B
    c - T2 w x old=1 new=2 at=5$$);
-- Causes before effects, though their clocks say otherwise.
SELECT * FROM pg_temp.trail_of($$
    a - T1 w x new=1 at=5
    b a T1 r x new=1 at=4
    c b T1 w x new=2 at=3$$);
-- What is odd about an access.
SELECT * FROM pg_temp.trail_of($$
    a b T1 w x
    b a T1 w x
    c - T1 w x parent_id=00000000-0000-0000-0000-00000000000a$$);
-- Locks: concurrent is not the same as a race.
SELECT * FROM pg_temp.trail_of($$
    a - T1 r x locks=L
    b - T2 w x locks=L$$);
SELECT count(*) FROM trace_ext.audit_trail('00000000-0000-0000-0000-000000000000', 'x');
SELECT count(*) FROM trace_ext.audit_trail(NULL, 'x');
SELECT count(*) FROM trace_ext.audit_trail((SELECT trace_id FROM program_events LIMIT 1), 'no such variable');
