-- What happened to a variable in a trace, access by access.

CREATE FUNCTION audit_trail(trace_id uuid, variable text)
    RETURNS TABLE (
    event_id uuid, "timestamp" timestamptz, access access_type, old_value jsonb, value jsonb,
    thread_id text, service_name text, instance_id text, location text,
    strand int, link text, in_race boolean, remark text, access_type access_type, new_value jsonb)
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_audit_trail';
COMMENT ON FUNCTION audit_trail(uuid, text) IS
    'every access of a variable in a trace, causes first: its strand (numbered in the trace), its link to the access before '
    '(first, same strand, happens-before, concurrent), whether it is in a race, also with other traces, and what is odd about it '
    '(parent missing, parent cycle cut here); values longer than 1 kB are left NULL; access_type and new_value are access and value once more';

CREATE FUNCTION audit_trail(trace_id text, variable text)
    RETURNS TABLE (
    event_id uuid, "timestamp" timestamptz, access access_type, old_value jsonb, value jsonb,
    thread_id text, service_name text, instance_id text, location text,
    strand int, link text, in_race boolean, remark text, access_type access_type, new_value jsonb)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    SELECT * FROM trace_ext.audit_trail($1::uuid, $2);
    END;
COMMENT ON FUNCTION audit_trail(text, text) IS 'the same, with the id as text';
