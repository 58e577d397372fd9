-- Which function and line ran a statement that touches a watched table.
SELECT current_setting('shared_preload_libraries') ~ 'trace_ext' AS preloaded \gset
\if :preloaded
\else
\quit
\endif
\set ECHO none
\getenv no_workers PG_ABS_SRCDIR
\set no_workers :no_workers '/no_workers.sql'
\i :no_workers
\set ECHO all
SET client_min_messages = warning;
CREATE SCHEMA w;
CREATE TABLE w.accounts (id int PRIMARY KEY, balance int);
INSERT INTO w.accounts VALUES (1, 1000), (2, 1000);
-- What was taken since the last call, in the order of the backend.
CREATE FUNCTION w.taken(OUT access text, OUT new jsonb, OUT location text, OUT function text) RETURNS SETOF record
    LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT inserted > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP;
    RETURN QUERY
        WITH gone AS (DELETE FROM trace_ext.events WHERE attributes ->> 'transaction' IS NOT NULL OR kind IN ('DatabaseQuery', 'LockAcquire', 'LockRelease') RETURNING *)
        SELECT e.attributes ->> 'access_type', e.attributes -> 'new_value', e.attributes ->> 'location', q.attributes ->> 'function'
          FROM gone e JOIN gone q ON q.id = e.parent_id WHERE e.kind = 'StateChange' ORDER BY e.id;
END
$$;
SELECT trace_ext.watch('w.accounts');
SELECT count(*) AS emptied FROM w.taken() \gset
SELECT errors FROM trace_ext_internal.watch_counts() \gset

-- Nobody but the session.
SELECT balance FROM w.accounts WHERE id = 1;
SELECT * FROM w.taken();

-- A function, one that it calls, one in SQL.
CREATE FUNCTION w.read(a int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    b int;
BEGIN
    SELECT balance INTO b FROM w.accounts WHERE id = a;
    RETURN b;
END $$;
CREATE FUNCTION w.pay(a int, amount int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    b int := w.read(a);
BEGIN
    UPDATE w.accounts SET balance = b - amount WHERE id = a;
    UPDATE w.accounts
       SET balance = b + length('two
lines') WHERE id = a;
    EXECUTE 'UPDATE w.accounts SET balance = balance + $1 WHERE id = $2' USING amount, a;
    BEGIN
        PERFORM 1 / 0;
    EXCEPTION WHEN division_by_zero THEN
        UPDATE w.accounts SET balance = 5 WHERE id = a;
    END;
END $$;
CREATE FUNCTION w.through(a int) RETURNS SETOF int LANGUAGE sql VOLATILE AS $$
    SELECT w.read(a);
    DELETE FROM w.accounts WHERE id = a + 100;
    UPDATE w.accounts SET balance = balance WHERE id = a RETURNING balance $$;
SELECT w.pay(1, 10);
SELECT * FROM w.taken();
SELECT w.through(2);
SELECT * FROM w.taken();

-- A block, its cursors, loops and COPY; a procedure that commits.
DO $$
DECLARE
    c CURSOR FOR SELECT balance FROM w.accounts ORDER BY id;
    b int;
    r record;
BEGIN
    OPEN c;
    FETCH c INTO b;
    CLOSE c;
    FOR r IN SELECT id, balance FROM w.accounts ORDER BY id LOOP
        UPDATE w.accounts SET balance = r.balance + 1 WHERE id = r.id;
    END LOOP;
END $$;
SELECT * FROM w.taken();
CREATE PROCEDURE w.each() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 2 LOOP
        UPDATE w.accounts SET balance = i WHERE id = i;
        COMMIT;
    END LOOP;
END $$;
CALL w.each();
SELECT * FROM w.taken();

-- Triggers: what a trigger's function does is its own, what called it is the session's.
CREATE TABLE w.orders (id int PRIMARY KEY, account int, total int);
CREATE FUNCTION w.charge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE w.accounts SET balance = balance - NEW.total WHERE id = NEW.account;
    RETURN NEW;
END $$;
CREATE TRIGGER charge BEFORE INSERT ON w.orders FOR EACH ROW EXECUTE FUNCTION w.charge();
SELECT trace_ext.watch('w.orders', '{total}');
INSERT INTO w.orders VALUES (1, 1, 7);
SELECT * FROM w.taken();
DROP TRIGGER charge ON w.orders;
CREATE CONSTRAINT TRIGGER charge AFTER INSERT ON w.orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION w.charge();
INSERT INTO w.orders VALUES (2, 1, 7);
SELECT * FROM w.taken();
COPY w.orders FROM stdin;
3	1	7
\.
SELECT * FROM w.taken();

-- Deep recursion, and an error on the way: both are the user's own business.
CREATE FUNCTION w.deep(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    IF n > 0 THEN
        RETURN w.deep(n - 1);
    END IF;
    RETURN (SELECT balance FROM w.accounts WHERE id = 1);
END $$;
SELECT w.deep(100);
SELECT location FROM w.taken();
SELECT w.pay(1, NULL), 1 / 0;
SELECT * FROM w.taken();
-- A long name is cut.
DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION w.%I(%s) RETURNS int LANGUAGE plpgsql AS %L', repeat('é', 31), (SELECT string_agg(format('a%s double precision DEFAULT 0', i), ', ') FROM generate_series(1, 20) i),
        'BEGIN RETURN (SELECT balance FROM w.accounts WHERE id = 2); END');
END $$;
SELECT "w"."ééééééééééééééééééééééééééééééé"();
SELECT length(function), octet_length(function) FROM w.taken();
SELECT errors - :errors AS errors FROM trace_ext_internal.watch_counts();
DROP SCHEMA w CASCADE;
\set ECHO none
\getenv workers_back PG_ABS_SRCDIR
\set workers_back :workers_back '/workers_back.sql'
\i :workers_back
