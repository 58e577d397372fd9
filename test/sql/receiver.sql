-- The receiver where there is none: its state, its numbers, its settings.  At work it is in test/t/026_receiver.pl.
\set VERBOSITY sqlstate
SELECT receiver_state = CASE WHEN preloaded THEN 'off' ELSE 'not preloaded' END AS state, receiver_address, receiver_error, receiver_connections, receiver_bodies,
       receiver_bytes, receiver_spans, receiver_log_records, receiver_events, receiver_rejected, receiver_p99
  FROM trace_ext.status;
SELECT jsonb_pretty(receiver_refused) FROM trace_ext.status;
SELECT name, type, labels, value FROM trace_ext.metrics WHERE name LIKE 'trace\_ext\_receiver\_%' ORDER BY 1, 3;

SELECT name, setting, context FROM pg_settings WHERE name ~ '^trace_ext.otlp_(listen|database|role|token_file)$' ORDER BY 1;
-- Of the server, not of a session.
SET trace_ext.otlp_listen = '127.0.0.1:4318';
SET trace_ext.otlp_role = 'postgres';

-- Who may see it: those who may see status; where the token is, only superusers.
CREATE ROLE regress_watcher IN ROLE trace_ext_reader;
CREATE ROLE regress_sender IN ROLE trace_ext_writer;
SET ROLE regress_watcher;
SELECT receiver_bodies FROM trace_ext.status;
SHOW trace_ext.otlp_token_file;
SET ROLE regress_sender;
SELECT * FROM trace_ext_internal.receiver();
RESET ROLE;
DROP ROLE regress_watcher, regress_sender;

-- Its role: a writer and nothing else, as which no client logs in.
SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconnlimit,
       (SELECT array_agg(m.roleid::regrole) FROM pg_auth_members m WHERE m.member = r.oid) AS member_of
  FROM pg_roles r WHERE rolname = 'trace_ext_receiver';
