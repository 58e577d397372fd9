-- The receiver of what SDKs of OpenTelemetry send: its state and its numbers.

CREATE FUNCTION trace_ext_internal.receiver(
    OUT state text, OUT pid int, OUT address text, OUT started_at timestamptz, OUT failures int, OUT error text, OUT connections bigint,
    OUT buffered bigint, OUT bodies bigint, OUT trace_bodies bigint, OUT log_bodies bigint, OUT event_bodies bigint, OUT spans bigint, OUT log_records bigint,
    OUT events bigint, OUT rejected bigint, OUT bytes bigint, OUT batches bigint, OUT seconds double precision, OUT p99 double precision, OUT refused jsonb)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_receiver_row';
COMMENT ON FUNCTION trace_ext_internal.receiver() IS
    'the receiver, of all databases: state is off, starting, listening, failed, standby or not preloaded; numbers since the server started: bodies stored by door, '
    'the records in them and those of these that were rejected, seconds that they took, the 99th percentile of that for the last few thousand, and requests refused, by reason';
