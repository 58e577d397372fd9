-- For which request a statement was run: the setting, a comment as sqlcommenter writes it, or nobody says.
-- Without preload there is nothing to try but what it says.
SELECT current_setting('shared_preload_libraries') ~ 'trace_ext' AS preloaded \gset
\if :preloaded
\else
CREATE TABLE public.unwatched (id int PRIMARY KEY);
SELECT trace_ext.watch('unwatched');
DROP TABLE public.unwatched;
\quit
\endif
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET client_min_messages = warning;
SET trace_ext.service_name = 'shop';
CREATE TABLE public.requested (id int PRIMARY KEY, v int);
SELECT trace_ext.watch('requested');
CREATE TABLE public.counted AS SELECT bad_requests FROM trace_ext_internal.watch_counts();

-- The trace and parent of what was taken since the last call; those of a session are told from others only.
CREATE FUNCTION public.requests(OUT trace text, OUT parent text, OUT request text, OUT by text, OUT bad bigint) RETURNS SETOF record
    LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT inserted > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP;
    RETURN QUERY
        SELECT CASE WHEN q.parent_id IS NULL THEN 'its own' ELSE q.trace_id::text END, q.parent_id::text, q.attributes ->> 'request',
               regexp_replace(a.attributes ->> 'by', 'session \d+', 'session N'), (SELECT c.bad_requests - d.bad_requests FROM trace_ext_internal.watch_counts() c, public.counted d)
          FROM trace_ext.events q JOIN trace_ext.events a ON a.parent_id = q.id AND a.trace_id = q.trace_id WHERE q.service_name = 'shop' ORDER BY q.id;
    DELETE FROM trace_ext.events WHERE service_name = 'shop';
    UPDATE public.counted SET bad_requests = c.bad_requests FROM trace_ext_internal.watch_counts() c;
END
$$;

-- Nobody says.
INSERT INTO requested VALUES (1, 1);
SELECT * FROM requests();
-- The setting goes before comments. It may change within a transaction.
SET trace_ext.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
UPDATE requested SET v = 2;
UPDATE requested SET v = 3 /*traceparent='00-11111111111111111111111111111111-2222222222222222-01',route='%2Fpay%2F%3Aid'*/;
BEGIN; UPDATE requested SET v = 4; SET LOCAL trace_ext.traceparent = '00-33333333333333333333333333333333-4444444444444444-01'; UPDATE requested SET v = 5; COMMIT;
SELECT * FROM requests();
-- One that is malformed is ignored, and counted.
SET trace_ext.traceparent = '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01';
UPDATE requested SET v = 6;
SET trace_ext.traceparent = 'x'; UPDATE requested SET v = 6;
SET trace_ext.traceparent = '00-00000000000000000000000000000000-b7ad6b7169203331-01'; UPDATE requested SET v = 6;
SET trace_ext.traceparent = '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01'; UPDATE requested SET v = 6;
SET trace_ext.traceparent = 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'; UPDATE requested SET v = 6;
SET trace_ext.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x'; UPDATE requested SET v = 6;
SELECT * FROM requests();
-- Later versions may go on.
SET trace_ext.traceparent = 'cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings'; UPDATE requested SET v = 6;
RESET trace_ext.traceparent;
SELECT * FROM requests();
-- Comments: at the end, at the beginning, behind the semicolon, several of them, with keys in any order, encoded.
UPDATE requested SET v = 7 /*action='%2Fparam*d',controller='index',framework='spring',traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01',tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'*/;
/*traceparent='00-55555555555555555555555555555555-6666666666666666-00',route='a\'b'*/ UPDATE requested SET v = 7;
UPDATE requested SET v = 7 /* a comment */ /*traceparent='00-77777777777777777777777777777777-8888888888888888-00'*/ /* another, it's one */;
UPDATE requested /* nested /* traceparent='00-99999999999999999999999999999999-8888888888888888-00' */ */ SET v = 7;
UPDATE requested SET v = 7 /*controller='cart'*/;
UPDATE requested SET v = 7 /*%74raceparent='00%2Daaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa%2dbbbbbbbbbbbbbbbb%2D01'*/;
UPDATE requested SET v = 7 /*traceparent='garbage',route='kept'*/;
UPDATE requested SET v = 7 /*traceparent='00-77777777777777777777777777777777-8888888888888888-00*/;
UPDATE requested SET v = 7 /*,,=''*/ /*'*/ /*=*/ /*a=*/ /*a='*/ /*a='\*/ /**/;
-- As OpenTelemetry's instrumentations of drivers write it: a number without quotes, and what is encoded escaped for a driver that did not look at it.
UPDATE requested SET v = 7 /*db_driver='psycopg%%3A3.3.9',dbapi_level='2.0',dbapi_threadsafety=2,libpq_version=180000,route='%%2Fpay%%2Fnow',traceparent='00-77777777777777777777777777777777-9999999999999999-01'*/;
UPDATE requested SET v = 7 /*a=1'*/ /*a=1,b=*/ /*a=,route='after%%2a'*/ /*a=1,2*/ /*route=none*/;
SELECT * FROM requests();
-- What functions do is for whom the client has sent the call, unless they say otherwise.
CREATE FUNCTION public.pay(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN UPDATE requested SET v = n; RETURN (SELECT v FROM requested); END $$;
CREATE PROCEDURE public.pay_otherwise(n int) LANGUAGE plpgsql AS $$ BEGIN UPDATE requested SET v = n /*route='inner'*/; END $$;
SELECT public.pay(1) /*route='outer',traceparent='00-77777777777777777777777777777777-aaaaaaaaaaaaaaaa-01'*/;
CALL public.pay_otherwise(2) /*route='outer'*/;
DO $$ BEGIN PERFORM public.pay(3); END $$ /*route='do',traceparent='00-77777777777777777777777777777777-bbbbbbbbbbbbbbbb-01'*/;
SELECT public.pay(4);
SELECT * FROM requests();
DROP FUNCTION public.pay;
DROP PROCEDURE public.pay_otherwise;
-- What somebody filled in is no comment.
CREATE TABLE public.named (id text PRIMARY KEY, "/*route='n'*/" int);
SELECT trace_ext.watch('named');
INSERT INTO named VALUES ('/*traceparent=''00-66666666666666666666666666666666-6666666666666666-00'',route=''r''*/', 1);
INSERT INTO named VALUES (E'\'/*route=\'e\'*/', 1);
INSERT INTO named VALUES ($$/*route='d'*/$$, 1), ($a$ $$ /*route='d'*/ $a$, 1);
INSERT INTO named (id, "/*route='n'*/") VALUES ('n', 1);
INSERT INTO named VALUES ('l', 1) -- /*route='l'*/
;
SELECT request, by FROM requests();
-- Ones that are too long, or no text, are no names.
DO $$ BEGIN
    EXECUTE 'UPDATE public.requested SET v = 8 /*route=''' || repeat('x', 1000) || '''*/';
    EXECUTE 'UPDATE public.requested SET v = 8 /*route=''%00''*/';
    EXECUTE 'UPDATE public.requested SET v = 8 /*route=''%FF''*/';
    EXECUTE 'UPDATE public.requested SET v = 8 /*route=''' || repeat('ä', 100) || '''*/';
END $$;
SELECT request FROM requests();
-- One session is one trace, or each transaction is.
UPDATE requested SET v = 9; UPDATE requested SET v = 10;
SET trace_ext.watch_untraced = transaction;
UPDATE requested SET v = 11; UPDATE requested SET v = 12;
WITH stored AS MATERIALIZED (SELECT inserted FROM trace_ext_internal.store_watched()) SELECT inserted FROM stored;
SELECT count(DISTINCT trace_id) FROM trace_ext.events WHERE service_name = 'shop';
DROP TABLE requested, counted, named CASCADE;
DROP FUNCTION requests();
DELETE FROM trace_ext.events WHERE service_name = 'shop';
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
