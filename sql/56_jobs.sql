-- Jobs: what runs by itself, when, and what became of it. A worker asks
-- claim_job() what is due and tells finish_job() how it ended; everything that is
-- decided about time is decided here.

CREATE TABLE jobs (
    name          name        PRIMARY KEY,
    procedure     text        NOT NULL,
    owner         name        NOT NULL,
    owner_id      oid,
    builtin       boolean     NOT NULL DEFAULT false,
    enabled       boolean     NOT NULL DEFAULT true,
    "interval"    interval    NOT NULL CHECK ("interval" BETWEEN interval '100 milliseconds' AND interval '10 years'),
    timeout       interval    NOT NULL DEFAULT interval '10 minutes' CHECK (timeout BETWEEN interval '0' AND interval '10 years'),
    max_attempts  int         NOT NULL DEFAULT 5 CHECK (max_attempts >= 1),
    backoff       interval    NOT NULL DEFAULT interval '1 second' CHECK (backoff BETWEEN interval '100 milliseconds' AND interval '10 years'),
    max_backoff   interval    NOT NULL DEFAULT interval '1 minute' CHECK (max_backoff BETWEEN interval '100 milliseconds' AND interval '10 years'),
    priority      int         NOT NULL DEFAULT 0,
    -- Only of built-in jobs: it runs as whoever the worker is.
    condition     text        CHECK (condition IS NULL OR builtin),
    next_run      timestamptz,
    attempts      int         NOT NULL DEFAULT 0,
    runs          bigint      NOT NULL DEFAULT 0,
    failures      bigint      NOT NULL DEFAULT 0,
    skipped       bigint      NOT NULL DEFAULT 0,
    total_time    interval    NOT NULL DEFAULT interval '0',
    last_started  timestamptz,
    last_duration interval,
    last_success  timestamptz,
    last_error    text,
    last_error_at timestamptz
);
-- A few rows, rewritten at each run.
ALTER TABLE jobs SET (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE jobs IS 'what background workers run; add_job(), alter_job() and drop_job() change it, run_job() runs one at once';
COMMENT ON COLUMN jobs.name IS 'its name';
COMMENT ON COLUMN jobs.procedure IS 'a procedure that is called without arguments; while it returns true in a boolean output column, it is called again at once';
COMMENT ON COLUMN jobs.owner IS 'the owner of the procedure; it runs with the rights of this role, in a process of its own. Its name when last seen, for people and dumps';
COMMENT ON COLUMN jobs.owner_id IS 'the number of that role: a job whose role is dropped is not run, whoever gets the name. NULL: a dump named a role that was not there';
COMMENT ON COLUMN jobs.builtin IS 'whether it came with the extension';
COMMENT ON COLUMN jobs.enabled IS 'whether it runs by itself';
COMMENT ON COLUMN jobs."interval" IS 'time from the start of a run to that of the next';
COMMENT ON COLUMN jobs.timeout IS 'a run that takes longer fails; 0: it never does';
COMMENT ON COLUMN jobs.max_attempts IS 'how often it is tried in quick succession when it fails, before it waits for its interval or for max_backoff, the longer of them';
COMMENT ON COLUMN jobs.backoff IS 'pause after a first failure; after each further one it doubles';
COMMENT ON COLUMN jobs.max_backoff IS 'longest pause between attempts';
COMMENT ON COLUMN jobs.priority IS 'of jobs that are due, the one with the highest priority runs first';
COMMENT ON COLUMN jobs.condition IS 'a function that returns from when on there is something to do, NULL for nothing';
COMMENT ON COLUMN jobs.next_run IS 'when it is due; NULL: at once';
COMMENT ON COLUMN jobs.attempts IS 'failed attempts in a row';
COMMENT ON COLUMN jobs.runs IS 'runs that ended, well or not';
COMMENT ON COLUMN jobs.failures IS 'runs that failed, timed out or were lost';
COMMENT ON COLUMN jobs.skipped IS 'runs that were not begun because one was under way, or that gave way to a lock';
COMMENT ON COLUMN jobs.total_time IS 'time spent in its runs';
COMMENT ON COLUMN jobs.last_started IS 'begin of the last run';
COMMENT ON COLUMN jobs.last_duration IS 'how long the last run took that ended well';
COMMENT ON COLUMN jobs.last_success IS 'end of the last run that ended well';
COMMENT ON COLUMN jobs.last_error IS 'why the last failed run failed';
COMMENT ON COLUMN jobs.last_error_at IS 'when';

CREATE TYPE run_state AS ENUM ('running', 'succeeded', 'failed', 'skipped', 'lost');
COMMENT ON TYPE run_state IS 'what became of a run; lost: its process is gone, or left because somebody wanted the database for himself';

CREATE TABLE job_runs (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job          name        NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    state        run_state   NOT NULL,
    attempt      int         NOT NULL,
    error        text
);
CREATE INDEX job_runs_job_idx ON job_runs (job, id);
-- What a crash left behind.
CREATE INDEX job_runs_running_idx ON job_runs (id) WHERE state = 'running';
COMMENT ON TABLE job_runs IS 'one row a run, the last trace_ext.job_history of each job';
COMMENT ON INDEX job_runs_job_idx IS 'runs of a job';
COMMENT ON INDEX job_runs_running_idx IS 'runs that have not ended';
COMMENT ON COLUMN job_runs.id IS 'ascending number';
COMMENT ON COLUMN job_runs.job IS 'name of the job';
COMMENT ON COLUMN job_runs.started_at IS 'when it began';
COMMENT ON COLUMN job_runs.finished_at IS 'when it ended, or was found lost';
COMMENT ON COLUMN job_runs.state IS 'what became of it';
COMMENT ON COLUMN job_runs.attempt IS '1, or more after failures';
COMMENT ON COLUMN job_runs.error IS 'why it failed or was skipped';

-- A dump brings all jobs but those of dropped roles, and those whose name of a role
-- may be another role's by now. CREATE EXTENSION has made the built-in ones by then,
-- so what the dump says of them replaces it.
SELECT pg_catalog.pg_extension_config_dump('jobs',
    'WHERE builtin OR (EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = owner_id)
                       AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid <> owner_id AND r.rolname = owner))');
-- The number of a role means nothing in another cluster, where a dump is restored, so
-- names count here. Nobody gets rights by that: the procedure must be the role's.
CREATE FUNCTION trace_ext_internal.keep_job() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.owner_id := to_regrole(quote_ident(NEW.owner));
    IF NOT NEW.builtin THEN
        RETURN NEW;
    END IF;
    UPDATE trace_ext.jobs j
       SET enabled = NEW.enabled, "interval" = NEW."interval", timeout = NEW.timeout, max_attempts = NEW.max_attempts,
           backoff = NEW.backoff, max_backoff = NEW.max_backoff, priority = NEW.priority
     WHERE j.name = NEW.name AND j.builtin;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.keep_job() IS 'row trigger on jobs: lets a restored dump set the built-in jobs, and finds the role of others by its name';
CREATE TRIGGER trace_ext_keep BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION trace_ext_internal.keep_job();
COMMENT ON TRIGGER trace_ext_keep ON jobs IS 'lets a restored dump set the built-in jobs, and finds the role of others by its name';

--
-- What workers call
--

CREATE FUNCTION trace_ext_internal.preloaded() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
        SELECT 'trace_ext' = ANY (string_to_array(replace(replace(current_setting('shared_preload_libraries'), ' ', ''), '"', ''), ','));
    END;
COMMENT ON FUNCTION trace_ext_internal.preloaded() IS 'whether shared_preload_libraries names trace_ext';

CREATE FUNCTION trace_ext_internal.try_job_lock(job name) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_try_job_lock';
COMMENT ON FUNCTION trace_ext_internal.try_job_lock(name) IS 'keeps others from running a job until the transaction ends; false where it runs';

CREATE FUNCTION trace_ext_internal.call_job(procedure text, owner oid) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'tex_call_job';
COMMENT ON FUNCTION trace_ext_internal.call_job(text, oid) IS 'calls the procedure of a job, in this transaction, with the rights of its owner';

-- Who has a job locked is not waited for: the next look will do. In PL/pgSQL, which
-- keeps the plan: a worker calls it at each look.
CREATE FUNCTION trace_ext_internal.follow_owners() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    UPDATE trace_ext.jobs j SET owner = pg_get_userbyid(j.owner_id)
     WHERE j.name IN (SELECT o.name FROM trace_ext.jobs o
                       WHERE pg_get_userbyid(o.owner_id) <> o.owner AND EXISTS (SELECT FROM pg_roles r WHERE r.oid = o.owner_id)
                         FOR UPDATE OF o SKIP LOCKED);
END
$$;
COMMENT ON FUNCTION trace_ext_internal.follow_owners() IS 'has jobs show the names that renamed owners have now';

CREATE FUNCTION trace_ext_internal.job_owner(job jobs) RETURNS oid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN job.builtin THEN (SELECT p.proowner FROM pg_proc p WHERE p.oid = to_regproc(job.procedure))
                ELSE (SELECT r.oid FROM pg_roles r WHERE r.oid = job.owner_id) END;
    END;
COMMENT ON FUNCTION trace_ext_internal.job_owner(jobs) IS 'the role that a job runs as; NULL where it is gone';

CREATE FUNCTION trace_ext_internal.no_owner(job jobs) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN job.builtin THEN format('procedure %s does not exist', job.procedure)
                WHEN to_regrole(quote_ident(job.owner)) IS NULL THEN format('role "%s" does not exist', job.owner)
                ELSE format('the role "%s" that this job ran as is gone: it is not run as another of that name', job.owner) END;
    END;
COMMENT ON FUNCTION trace_ext_internal.no_owner(jobs) IS 'why a job has nobody to run as';

-- When a job is due: by its time, and by its condition. A time far ahead is of a
-- clock that was set back since.
CREATE FUNCTION trace_ext_internal.job_due_at(job jobs) RETURNS timestamptz
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    due timestamptz := coalesce(job.next_run, '-infinity');
    needed timestamptz := '-infinity';
BEGIN
    IF due > clock_timestamp() + greatest(job."interval", job.max_backoff) + interval '1 second' THEN
        due := '-infinity';
    END IF;
    IF job.condition IS NOT NULL THEN
        EXECUTE format('SELECT %s()', job.condition) INTO needed;
    END IF;
    RETURN CASE WHEN needed IS NOT NULL THEN greatest(due, needed) END;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.job_due_at(jobs) IS 'when a job is due; NULL while there is nothing to do for it';

-- Room: whether one more process for a job of a user may be started.
CREATE FUNCTION trace_ext_internal.claim_job(room boolean, OUT run bigint, OUT name name, OUT procedure text, OUT owner oid, OUT builtin boolean,
                          OUT timeout_ms int, OUT wait_ms bigint, OUT folds boolean)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    job trace_ext.jobs;
    due timestamptz;
    earliest timestamptz;
BEGIN
    folds := false;
    PERFORM trace_ext_internal.follow_owners();
    FOR job IN SELECT * FROM trace_ext.jobs j WHERE j.enabled ORDER BY j.priority DESC, j.next_run NULLS FIRST, j.name LOOP
        folds := folds OR (job.name = 'fold' AND job.attempts < job.max_attempts);
        CONTINUE WHEN run IS NOT NULL;
        CONTINUE WHEN NOT job.builtin AND NOT room;
        -- One that runs in its own process is not due before that ends.
        CONTINUE WHEN EXISTS (SELECT FROM trace_ext.job_runs r WHERE r.state = 'running' AND r.job = job.name);
        due := trace_ext_internal.job_due_at(job);
        -- What a dump brings comes before what these would make of it.
        IF job.builtin AND job.name IN ('partitions', 'detect', 'baselines', 'anomalies', 'retention', 'cache_refresh', 'alerts', 'calls') AND trace_ext_internal.restoring() THEN
            due := greatest(due, clock_timestamp() + interval '5 seconds');
        END IF;
        IF due > clock_timestamp() THEN
            earliest := least(earliest, due);
        ELSIF due IS NOT NULL THEN
            -- Whoever has it locked, by alter_job() or run_job(), must not hold up the others.
            PERFORM FROM trace_ext.jobs j WHERE j.name = job.name FOR UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                earliest := least(earliest, clock_timestamp() + interval '1 second');
                CONTINUE;
            END IF;
            INSERT INTO trace_ext.job_runs (job, started_at, state, attempt)
            VALUES (job.name, clock_timestamp(), 'running', job.attempts + 1)
            RETURNING id INTO run;
            UPDATE trace_ext.jobs j SET last_started = clock_timestamp() WHERE j.name = job.name;
            name := job.name;
            procedure := job.procedure;
            owner := trace_ext_internal.job_owner(job);
            builtin := job.builtin;
            timeout_ms := least(extract(epoch FROM job.timeout) * 1000, 2147483647);
            IF owner IS NULL THEN
                PERFORM trace_ext_internal.finish_job(run, 'failed', trace_ext_internal.no_owner(job));
                run := NULL;
            END IF;
        END IF;
    END LOOP;
    wait_ms := ceil(extract(epoch FROM earliest - clock_timestamp()) * 1000);
    wait_ms := CASE WHEN wait_ms < 1 THEN 1 ELSE wait_ms END;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.claim_job(boolean) IS
    'takes the most urgent job that is due and writes its run down; if none is due, says when one will be; room: a user''s job may be started';

-- How long to wait after so many failed attempts in a row.
CREATE FUNCTION trace_ext_internal.job_pause(job jobs, attempts int) RETURNS interval
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
    SELECT CASE WHEN attempts >= job.max_attempts THEN greatest(job."interval", job.max_backoff)
                ELSE least(job.backoff * (2 ^ least(attempts - 1, 30))::double precision, job.max_backoff) END;
    END;
COMMENT ON FUNCTION trace_ext_internal.job_pause(jobs, int) IS 'pause after so many failed attempts in a row';

CREATE FUNCTION trace_ext_internal.finish_job(run bigint, state text, error text, more boolean = false) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    done trace_ext.job_runs;
    now_at constant timestamptz := clock_timestamp();
    ok constant boolean := finish_job.state = 'succeeded';
    failed constant boolean := finish_job.state IN ('failed', 'lost');
BEGIN
    UPDATE trace_ext.job_runs r
       SET state = finish_job.state::trace_ext.run_state, finished_at = now_at, error = finish_job.error
     WHERE r.id = finish_job.run RETURNING r.* INTO done;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE trace_ext.jobs j
       SET last_started = done.started_at,
           attempts = CASE WHEN ok THEN 0 WHEN failed THEN least(done.attempt, j.max_attempts) ELSE j.attempts END,
           next_run = CASE WHEN ok AND more THEN now_at
                           WHEN ok THEN done.started_at + j."interval"
                           WHEN failed THEN now_at + trace_ext_internal.job_pause(j, done.attempt)
                           ELSE now_at + least(j."interval", j.max_backoff) END,
           runs = j.runs + (ok OR failed)::int,
           failures = j.failures + failed::int,
           skipped = j.skipped + (NOT ok AND NOT failed)::int,
           total_time = j.total_time + greatest(now_at - done.started_at, interval '0'),
           last_duration = CASE WHEN ok THEN greatest(now_at - done.started_at, interval '0') ELSE j.last_duration END,
           last_success = CASE WHEN ok THEN now_at ELSE j.last_success END,
           last_error = CASE WHEN failed THEN finish_job.error ELSE j.last_error END,
           last_error_at = CASE WHEN failed THEN now_at ELSE j.last_error_at END
     -- Who has it locked would be waited for, perhaps for long; it counts less than that.
     WHERE j.name = (SELECT l.name FROM trace_ext.jobs l WHERE l.name = done.job FOR UPDATE SKIP LOCKED);
    -- Not each time: 100 runs more or less do not matter.
    IF done.id % 100 = 0 THEN
        PERFORM trace_ext_internal.trim_job_runs();
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.finish_job(bigint, text, text, boolean) IS
    'writes down what became of a run, and when its job is due again; more: it has more to do, and only let others have their turn';

CREATE FUNCTION trace_ext_internal.trim_job_runs() RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    kept constant int := current_setting('trace_ext.job_history');
    of_job name;
BEGIN
    FOR of_job IN SELECT DISTINCT r.job FROM trace_ext.job_runs r LOOP
        DELETE FROM trace_ext.job_runs r
         WHERE r.job = of_job AND r.state <> 'running'
           AND r.id <= (SELECT id FROM trace_ext.job_runs o WHERE o.job = of_job ORDER BY id DESC OFFSET kept LIMIT 1);
    END LOOP;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.trim_job_runs() IS 'forgets all but the last trace_ext.job_history runs of each job';

CREATE FUNCTION trace_ext_internal.close_lost_runs(alive bigint[]) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT trace_ext_internal.finish_job(id, 'lost', 'its process ended: the server crashed, or somebody ended it or wanted the database for himself')
      FROM trace_ext.job_runs WHERE state = 'running' AND id <> ALL (alive);
    END;
COMMENT ON FUNCTION trace_ext_internal.close_lost_runs(bigint[]) IS 'writes down as lost the runs that nobody runs any more';

--
-- What people call
--

CREATE FUNCTION trace_ext_internal.caller() RETURNS name
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'tex_caller';
COMMENT ON FUNCTION trace_ext_internal.caller() IS 'the role that called, from inside of SECURITY DEFINER functions as well';

CREATE FUNCTION trace_ext_internal.require_job(name name, OUT job jobs)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    SELECT j.* INTO job FROM trace_ext.jobs j WHERE j.name = require_job.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no job "%"', name USING ERRCODE = 'undefined_object';
    END IF;
    IF NOT pg_has_role(trace_ext_internal.caller(), 'trace_ext_admin', 'USAGE')
       AND NOT coalesce(pg_has_role(trace_ext_internal.caller(), trace_ext_internal.job_owner(job), 'USAGE'), false) THEN
        RAISE EXCEPTION 'permission denied for job "%"', name USING ERRCODE = 'insufficient_privilege',
              HINT = 'Its owner and members of trace_ext_admin may change and run it.';
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.require_job(name) IS 'the job of that name, if the caller may change and run it';

-- What the table would refuse, in words.
CREATE FUNCTION trace_ext_internal.judge_job("interval" interval, timeout interval, max_attempts bigint, priority bigint, backoff interval,
                                             max_backoff interval) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    given record;
BEGIN
    FOR given IN SELECT * FROM (VALUES ('interval', "interval", '100 ms'), ('timeout', timeout, '0 s'),
                                       ('backoff', backoff, '100 ms'), ('max_backoff', max_backoff, '100 ms')) AS v (name, value, least)
                  WHERE v.value < v.least::interval OR v.value > interval '10 years' LOOP
        RAISE EXCEPTION '% must be between % and 10 years', given.name, given.least USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Write a number and a unit, as ''30 s'' or ''1 hour''.';
    END LOOP;
    IF max_attempts NOT BETWEEN 1 AND 2147483647 THEN
        RAISE EXCEPTION 'max_attempts must be between 1 and 2147483647' USING ERRCODE = 'invalid_parameter_value',
              HINT = 'With 1 a job that failed waits for its interval.';
    END IF;
    IF priority NOT BETWEEN -2147483648 AND 2147483647 THEN
        RAISE EXCEPTION 'priority must be between -2147483648 and 2147483647' USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.judge_job(interval, interval, bigint, bigint, interval, interval) IS 'fails where a job cannot have these; NULLs are not judged';

-- Apart from the rest: in alter_job() each may be what it was.
CREATE FUNCTION trace_ext_internal.judge_backoff(backoff interval, max_backoff interval) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF backoff > max_backoff THEN
        RAISE EXCEPTION 'backoff % is longer than max_backoff %', backoff, max_backoff USING ERRCODE = 'invalid_parameter_value',
              HINT = 'The pause begins with backoff and doubles up to max_backoff: give both.';
    END IF;
END
$$;
COMMENT ON FUNCTION trace_ext_internal.judge_backoff(interval, interval) IS 'fails where the first pause of a job would be longer than its longest';

-- An argument that is NULL has its default, as if it was not given.
CREATE FUNCTION add_job(name name, procedure regproc, "interval" interval, timeout interval = '10 minutes', max_attempts bigint = 5,
                        backoff interval = NULL, max_backoff interval = NULL, priority bigint = 0, enabled boolean = true) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    p record;
    first_pause constant interval := coalesce(backoff, least(interval '1 second', max_backoff));
    last_pause constant interval := coalesce(max_backoff, greatest(interval '1 minute', backoff));
BEGIN
    IF nullif(name, '') IS NULL OR procedure IS NULL OR "interval" IS NULL THEN
        RAISE EXCEPTION 'a job needs a name, a procedure and an interval' USING ERRCODE = 'invalid_parameter_value',
              HINT = 'SELECT trace_ext.add_job(''report'', ''app.report'', ''1 hour'') has the procedure app.report called every hour.';
    END IF;
    IF EXISTS (SELECT FROM trace_ext.jobs j WHERE j.name = add_job.name) THEN
        RAISE EXCEPTION 'there is a job "%" already', name USING ERRCODE = 'duplicate_object',
              HINT = 'alter_job() changes it.';
    END IF;
    SELECT n.nspname, f.proname, f.prokind, f.proowner, pg_get_userbyid(f.proowner) AS owner, f.pronargs - f.pronargdefaults AS required,
           r.rolcanlogin
      INTO p
      FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace JOIN pg_roles r ON r.oid = f.proowner
     WHERE f.oid = procedure;
    IF p.prokind <> 'p' OR p.required > 0 THEN
        RAISE EXCEPTION '% is not a procedure that can be called without arguments', procedure USING ERRCODE = 'wrong_object_type';
    END IF;
    -- Also for a superuser: the job runs as the owner of the procedure, never as whoever adds it.
    IF NOT pg_has_role(trace_ext_internal.caller(), p.proowner, 'USAGE') THEN
        RAISE EXCEPTION 'permission denied to add a job that runs as "%"', p.owner USING ERRCODE = 'insufficient_privilege',
              HINT = 'The owner of the procedure can add it.';
    END IF;
    IF NOT p.rolcanlogin AND current_setting('server_version_num')::int < 170000 THEN
        RAISE EXCEPTION 'role "%" may not log in', p.owner USING ERRCODE = 'invalid_authorization_specification',
              HINT = 'The job runs in a process of this role, which PostgreSQL before 17 starts for roles with LOGIN only.';
    END IF;
    PERFORM trace_ext_internal.judge_job("interval", timeout, max_attempts, priority, backoff, max_backoff);
    PERFORM trace_ext_internal.judge_backoff(first_pause, last_pause);
    INSERT INTO trace_ext.jobs (name, procedure, owner, "interval", timeout, max_attempts, backoff, max_backoff, priority, enabled)
    VALUES (add_job.name, format('%I.%I', p.nspname, p.proname), p.owner, add_job."interval", coalesce(add_job.timeout, interval '10 minutes'),
            coalesce(add_job.max_attempts, 5), first_pause, last_pause, coalesce(add_job.priority, 0), coalesce(add_job.enabled, true));
    PERFORM trace_ext_internal.wake_worker();
END
$$;
COMMENT ON FUNCTION add_job(name, regproc, interval, interval, bigint, interval, interval, bigint, boolean) IS
    'has workers call a procedure every interval, as its owner, in a process of its own, with search_path set to pg_catalog, pg_temp: '
    'qualify names in it. The caller must be a member of the owner. A job that fails pauses for 1 second, then twice as long each time, up to 1 minute: '
    'backoff and max_backoff. NULL is the default of each';

CREATE FUNCTION alter_job(name name, "interval" interval = NULL, enabled boolean = NULL, timeout interval = NULL, max_attempts bigint = NULL,
                          backoff interval = NULL, max_backoff interval = NULL, priority bigint = NULL, next_run timestamptz = NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    job constant trace_ext.jobs := trace_ext_internal.require_job(name);
BEGIN
    PERFORM trace_ext_internal.judge_job("interval", timeout, max_attempts, priority, backoff, max_backoff);
    PERFORM trace_ext_internal.judge_backoff(coalesce(backoff, job.backoff), coalesce(max_backoff, job.max_backoff));
    -- One farther ahead would be due now, as after a clock was set back.
    IF NOT isfinite(next_run) OR next_run > clock_timestamp() + greatest(coalesce(alter_job."interval", job."interval"),
                                                                         coalesce(alter_job.max_backoff, job.max_backoff)) THEN
        RAISE EXCEPTION 'next_run % of job "%" is not within its interval from now', next_run, name USING ERRCODE = 'invalid_parameter_value',
              HINT = format('SELECT trace_ext.alter_job(%L, next_run => now()) has it run at once, enabled => false stops it.', name);
    END IF;
    UPDATE trace_ext.jobs j
       SET "interval" = coalesce(alter_job."interval", j."interval"),
           enabled = coalesce(alter_job.enabled, j.enabled),
           timeout = coalesce(alter_job.timeout, j.timeout),
           max_attempts = coalesce(alter_job.max_attempts, j.max_attempts),
           backoff = coalesce(alter_job.backoff, j.backoff),
           max_backoff = coalesce(alter_job.max_backoff, j.max_backoff),
           priority = coalesce(alter_job.priority, j.priority),
           attempts = CASE WHEN alter_job.enabled OR alter_job.next_run IS NOT NULL THEN 0 ELSE j.attempts END,
           next_run = CASE WHEN alter_job.next_run IS NOT NULL THEN alter_job.next_run
                           WHEN alter_job.enabled THEN NULL
                           ELSE least(j.next_run, j.last_started + coalesce(alter_job."interval", j."interval")) END
     WHERE j.name = alter_job.name;
    PERFORM trace_ext_internal.follow_owners();
    PERFORM trace_ext_internal.wake_worker();
END
$$;
COMMENT ON FUNCTION alter_job(name, interval, boolean, interval, bigint, interval, interval, bigint, timestamptz) IS
    'changes what is not NULL; enabled => true, and next_run, also forget failed attempts';

CREATE FUNCTION drop_job(name name) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF (trace_ext_internal.require_job(name)).builtin THEN
        RAISE EXCEPTION 'job "%" came with the extension', name USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = format('SELECT trace_ext.alter_job(%L, enabled => false) stops it.', name);
    END IF;
    DELETE FROM trace_ext.jobs j WHERE j.name = drop_job.name;
    DELETE FROM trace_ext.job_runs r WHERE r.job = drop_job.name;
END
$$;
COMMENT ON FUNCTION drop_job(name) IS 'forgets a job of a user and its runs';

-- In the caller's transaction, so what fails is undone and the rest kept.
CREATE FUNCTION run_job(name name) RETURNS job_runs
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    job constant trace_ext.jobs := trace_ext_internal.require_job(name);
    owner constant oid := trace_ext_internal.job_owner(job);
    result trace_ext.job_runs;
BEGIN
    PERFORM trace_ext_internal.follow_owners();
    IF NOT trace_ext_internal.try_job_lock(name) THEN
        UPDATE trace_ext.jobs j SET skipped = j.skipped + 1 WHERE j.name = run_job.name;
        RAISE NOTICE 'job "%" is running already', name;
        result.job := name;
        result.started_at := clock_timestamp();
        result.state := 'skipped';
        result.attempt := job.attempts + 1;
        result.error := 'it was running already';
        RETURN result;
    END IF;
    INSERT INTO trace_ext.job_runs (job, started_at, state, attempt)
    VALUES (name, clock_timestamp(), 'running', job.attempts + 1) RETURNING * INTO result;
    BEGIN
        IF owner IS NULL THEN
            RAISE EXCEPTION '%', trace_ext_internal.no_owner(job) USING ERRCODE = 'undefined_object';
        END IF;
        PERFORM trace_ext_internal.call_job(job.procedure, owner);
        PERFORM trace_ext_internal.finish_job(result.id, 'succeeded', NULL);
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'job "%" failed: %', name, SQLERRM;
        PERFORM trace_ext_internal.finish_job(result.id, 'failed', SQLERRM);
    END;
    SELECT r.* INTO result FROM trace_ext.job_runs r WHERE r.id = result.id;
    RETURN result;
END
$$;
COMMENT ON FUNCTION run_job(name) IS
    'runs a job now, in this transaction, with the rights of its owner, and returns its run: an error is a WARNING and a failed run, '
    'undone by itself. A procedure that commits cannot be run so';

CREATE FUNCTION trace_ext_internal.wake_worker() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_wake_worker';
COMMENT ON FUNCTION trace_ext_internal.wake_worker() IS 'has the worker of this database look what is due, once the transaction has committed';

CREATE FUNCTION workers()
    RETURNS TABLE (database text, kind text, state text, pid int, started_at timestamptz, job text, job_started_at timestamptz,
                   wake_at timestamptz, failures int, error text)
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'tex_worker_rows';
COMMENT ON FUNCTION workers() IS
    'the launcher, the workers of all databases with the extension, and running jobs of users; no row where the library is not preloaded. '
    'state of a worker: busy, waiting, asleep (no process: none is needed before wake_at or the next write), starting, failed, '
    'no slot (max_worker_processes is used up), kept out (somebody wants the database for himself), off';

--
-- The jobs of the extension: each does one step, and returns whether to go on.
--

CREATE FUNCTION trace_ext_internal.fold_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN EXISTS (SELECT FROM trace_ext.summary_deltas) OR EXISTS (SELECT FROM trace_ext.count_deltas)
                     OR (SELECT count(*) FROM (SELECT FROM trace_ext.version_deltas LIMIT 1000) AS many) = 1000
                THEN '-infinity'::timestamptz END;
    END;
COMMENT ON FUNCTION trace_ext_internal.fold_needed() IS 'whether deltas are outstanding';

-- Deltas carry no time; they are younger than the last fold.
CREATE FUNCTION trace_ext_internal.fold_lag(at timestamptz = clock_timestamp()) RETURNS interval
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN trace_ext_internal.fold_needed() IS NULL THEN interval '0'
                ELSE greatest(fold_lag.at - j.last_started, interval '0') END
      FROM trace_ext.jobs j WHERE j.name = 'fold';
    END;
COMMENT ON FUNCTION trace_ext_internal.fold_lag(timestamptz) IS 'how long outstanding deltas have waited at most, at a time: since the begin of the last fold by a job; 0 where there are none, NULL before the first';

CREATE PROCEDURE job_fold(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    again := false;
    IF trace_ext_internal.fold_lock(false) THEN
        again := trace_ext_internal.fold_step();
    END IF;
END
$$;
COMMENT ON PROCEDURE job_fold(boolean) IS 'folds up to 20,000 outstanding deltas, if nobody else folds; returns whether there may be more';

CREATE FUNCTION trace_ext_internal.calls_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN EXISTS (SELECT FROM trace_ext.calls_queue) THEN '-infinity'::timestamptz END;
    END;
COMMENT ON FUNCTION trace_ext_internal.calls_needed() IS 'whether traces are queued whose calls are to be added up';

CREATE PROCEDURE job_calls(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    again := trace_ext_internal.take_calls_if_free();
END
$$;
COMMENT ON PROCEDURE job_calls(boolean) IS 'one step of adding up calls between services, about half a second''s work, if nobody folds; returns whether there may be more';

CREATE FUNCTION trace_ext_internal.detect_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE
        WHEN trace_ext_internal.fold_needed() IS NOT NULL THEN '-infinity'
        WHEN EXISTS (SELECT FROM trace_ext.detect_queue WHERE NOT waits) THEN '-infinity'
        -- Those that wait for a parent.
        ELSE (SELECT min(queued_at) + current_setting('trace_ext.lateness')::interval FROM trace_ext.detect_queue WHERE waits) END;
    END;
COMMENT ON FUNCTION trace_ext_internal.detect_needed() IS 'when detect() has something to look at';

CREATE PROCEDURE job_detect(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    again := (SELECT s.taken > 0 FROM trace_ext_internal.detect_step('infinity') s);
    -- Who has no worker for it finds what is new as well.
    IF NOT again AND trace_ext_internal.fold_needed() IS NOT NULL THEN
        CALL trace_ext.job_fold(again);
        again := again OR EXISTS (SELECT FROM trace_ext.detect_queue WHERE NOT waits);
    END IF;
END
$$;
COMMENT ON PROCEDURE job_detect(boolean) IS 'one step of detection, about a second''s work; folds where nothing is queued; returns whether there may be more to do';

-- A database that has no event yet may be about to get some with a dump.
CREATE FUNCTION trace_ext_internal.partitions_needed() RETURNS timestamptz
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT CASE WHEN EXISTS (SELECT FROM trace_ext.totals WHERE event_count > 0)
                  OR EXISTS (SELECT FROM trace_ext.count_deltas)
                  OR EXISTS (SELECT FROM trace_ext.partitions WHERE automatic) THEN '-infinity'::timestamptz END;
    END;
COMMENT ON FUNCTION trace_ext_internal.partitions_needed() IS 'when partitions may have to be made: not before there are events, or somebody had partitions made by hand';

CREATE PROCEDURE job_partitions(INOUT again boolean DEFAULT NULL)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    state text;
BEGIN
    FOR attempt IN 1 .. 5 LOOP
        state := trace_ext_internal.partition_step(true, true);
        EXIT WHEN state <> 'busy';
        PERFORM pg_sleep(0.1);
    END LOOP;
    IF state = 'busy' THEN
        RAISE EXCEPTION 'trace_ext.events is in use' USING ERRCODE = 'lock_not_available';
    END IF;
    -- In a worker each call is a transaction. In run_job() all are one, which must end.
    again := state <> 'done' AND clock_timestamp() < transaction_timestamp() + interval '1 s';
END
$$;
COMMENT ON PROCEDURE job_partitions(boolean) IS
    'one step of maintain_partitions(): makes one partition; gives way to others after a second; returns whether there may be more to do';

INSERT INTO jobs (name, procedure, owner, builtin, "interval", timeout, priority, condition) VALUES
    ('fold',       'trace_ext.job_fold',       current_user, true, '1 s',    '10 min', 100, 'trace_ext_internal.fold_needed'),
    ('calls',      'trace_ext.job_calls',      current_user, true, '1 s',    '10 min', 90,  'trace_ext_internal.calls_needed'),
    ('detect',     'trace_ext.job_detect',     current_user, true, '5 s',    '1 hour', 80,  'trace_ext_internal.detect_needed'),
    ('partitions', 'trace_ext.job_partitions', current_user, true, '1 hour', '10 min', 70,  'trace_ext_internal.partitions_needed');
