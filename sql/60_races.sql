-- Who raced: accesses of one variable that nothing orders.

CREATE FUNCTION find_races(trace_id uuid, max_pairs int = 1000) RETURNS TABLE (
    kind text, variable text, severity text, confidence double precision,
    event1_id uuid, event1_trace_id uuid, event1_timestamp timestamptz, event1_thread_id text,
    event1_access access_type, event1_value jsonb, event1_location text,
    event2_id uuid, event2_trace_id uuid, event2_timestamp timestamptz, event2_thread_id text,
    event2_access access_type, event2_value jsonb, event2_location text,
    evidence text)
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_find_races';
COMMENT ON FUNCTION find_races(uuid, int) IS
    'races within a trace, and between it and traces that overlapped it: one row a pair, worst and surest first, the earlier event of each first; kind, severity (CRITICAL, WARNING, INFO), confidence from 0 to 1 (1: values prove it), evidence as a sentence; shows at most max_pairs and says in a NOTICE how many there are; no rows for an unknown trace';

CREATE FUNCTION find_variable_races(variable text, since timestamptz = NULL, max_pairs int = 1000) RETURNS TABLE (
    kind text, variable text, severity text, confidence double precision,
    event1_id uuid, event1_trace_id uuid, event1_timestamp timestamptz, event1_thread_id text,
    event1_access access_type, event1_value jsonb, event1_location text,
    event2_id uuid, event2_trace_id uuid, event2_timestamp timestamptz, event2_thread_id text,
    event2_access access_type, event2_value jsonb, event2_location text,
    evidence text)
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_cached_find_variable_races';
COMMENT ON FUNCTION find_variable_races(text, timestamptz, int) IS
    'races on a variable, within and across all traces that accessed it at or after since (NULL: ever): one row a pair, worst and surest first, the earlier event of each first; kind, severity (CRITICAL, WARNING, INFO), confidence from 0 to 1 (1: values prove it), evidence as a sentence; shows at most max_pairs and says in a NOTICE how many there are';

CREATE FUNCTION count_races(trace_id uuid) RETURNS bigint
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'tex_count_races';
COMMENT ON FUNCTION count_races(uuid) IS
    'exact number of pairs that find_races() would return without max_pairs';

CREATE FUNCTION count_variable_races(variable text, since timestamptz = NULL) RETURNS bigint
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_count_variable_races';
COMMENT ON FUNCTION count_variable_races(text, timestamptz) IS
    'exact number of pairs that find_variable_races() would return without max_pairs';
