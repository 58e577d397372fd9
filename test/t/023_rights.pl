# 023_rights.pl
#		Rights come before deeds: whoever has none can neither stop a worker nor a job,
#		and what users ask for stands in nobody's way.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtTest;

my $node = new_node('rights', shared_preload_libraries => 'trace_ext', max_worker_processes => 16,
	'trace_ext.cache_refresh_timeout' => '2s');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# As a role, in a database; output and errors.
sub sql_as
{
	my ($role, $sql, $db) = @_;
	my ($out, $err) = ('', '');
	$node->psql($db // 'postgres', $sql, extra_params => [ '-U', $role ], stdout => \$out, stderr => \$err, on_error_stop => 0);
	return $out . $err;
}

sub becomes
{
	my ($query, $name, $wanted) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('postgres', $query, $wanted // 't'), $name);
}

# background_psql came with 16: a psql whose standard input stays open will do.
{
	package Idle;

	sub new
	{
		my ($class, $node, $role, $db, @statements) = @_;
		my $self = { in => '', out => '', err => '' };
		$self->{h} = IPC::Run::start(
			[ 'psql', '-XAtq', '-U', $role, '-d', $node->connstr($db) ], '<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err});
		$self->{in} .= join(";\n", @statements) . ";\n\\echo done\n";
		$self->{h}->pump until $self->{out} =~ /done/;
		return bless $self, $class;
	}

	sub end
	{
		my ($self) = @_;
		$self->{in} .= "\\q\n";
		$self->{h}->finish;
		return $self->{err};
	}
}

my $superuser = sql('SELECT current_user');
my $workers = q{SELECT string_agg(database || ' ' || kind || ' ' || pid || ' ' || started_at, ', ' ORDER BY database, kind)
	FROM trace_ext.workers() WHERE kind IN ('worker', 'job') AND pid IS NOT NULL};

sql(q{
	CREATE ROLE nobody LOGIN;
	CREATE ROLE creator LOGIN CREATEDB;
	CREATE ROLE mate LOGIN IN ROLE creator;
	CREATE ROLE reader LOGIN IN ROLE trace_ext_reader;
	CREATE ROLE other LOGIN IN ROLE trace_ext_reader;
	CREATE ROLE quiet IN ROLE trace_ext_reader;
	CREATE TABLE t AS SELECT generate_series(1, 3) AS n;
	GRANT SELECT ON t TO PUBLIC;
	GRANT CREATE ON SCHEMA public TO PUBLIC;});
sql($_) foreach ('CREATE DATABASE second', 'CREATE DATABASE creators OWNER creator');
$node->safe_psql('second', 'CREATE EXTENSION trace_ext');
foreach my $db ('postgres', 'second')
{
	$node->safe_psql($db, q{
		CREATE PROCEDURE long() LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3000); END $$;
		SELECT trace_ext.add_job('long', 'public.long', '1 hour', timeout => '1 hour');});
}
becomes(q{SELECT count(*) = 4 FROM trace_ext.workers() WHERE kind IN ('worker', 'job') AND pid IS NOT NULL}, 'workers, and jobs of users');

# Nobody with no right to a command does anything by trying it, in any way.
{
	my $before = sql($workers);
	my @commands = (
		'DROP DATABASE postgres', 'DROP DATABASE second', 'DROP DATABASE IF EXISTS second WITH (FORCE)', 'DROP DATABASE nowhere',
		'DROP DATABASE second WITH (NONSENSE)',
		'CREATE DATABASE x TEMPLATE second', 'CREATE DATABASE x TEMPLATE postgres', 'CREATE DATABASE second TEMPLATE second',
		'ALTER DATABASE second RENAME TO third', 'ALTER DATABASE postgres RENAME TO third', 'ALTER DATABASE second SET TABLESPACE pg_default',
		'ALTER DATABASE second SET work_mem = 64', 'ALTER DATABASE postgres SET work_mem = 64', 'ALTER DATABASE second RESET ALL',
		'ALTER DATABASE second OWNER TO CURRENT_USER', 'ALTER DATABASE second CONNECTION LIMIT 0',
		'DROP EXTENSION trace_ext', 'DROP EXTENSION trace_ext CASCADE', 'DROP EXTENSION IF EXISTS nothing, trace_ext', 'ALTER EXTENSION trace_ext UPDATE',
		'ALTER EXTENSION trace_ext UPDATE TO \'9.9\'', 'ALTER EXTENSION trace_ext ADD TABLE t', 'ALTER EXTENSION trace_ext SET SCHEMA public',
		'DROP SCHEMA trace_ext', 'DROP SCHEMA trace_ext CASCADE', 'DROP SCHEMA IF EXISTS nothing, trace_ext CASCADE', 'ALTER SCHEMA trace_ext RENAME TO x',
		'DROP OWNED BY CURRENT_USER', 'DROP OWNED BY CURRENT_USER CASCADE', "DROP OWNED BY $superuser", 'DROP OWNED BY nobody, mate',
		'DROP TABLE trace_ext.events CASCADE', 'TRUNCATE trace_ext.events', 'ALTER TABLE trace_ext.jobs DISABLE TRIGGER ALL',
		'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE $$trace_ext%$$',
		'SELECT pg_advisory_lock(classid, objid) FROM (SELECT classid::int4, objid::int4 FROM pg_locks WHERE locktype = $$advisory$$) l');

	foreach my $role ('nobody', 'reader', 'creator')
	{
		sql_as($role, join('', map {
			"$_;\nBEGIN; SAVEPOINT a; $_; ROLLBACK TO a; SAVEPOINT b; $_; ROLLBACK TO b; COMMIT;\n"
			  . "DO \$x\$ BEGIN EXECUTE \$y\$$_\$y\$; EXCEPTION WHEN OTHERS THEN NULL; END \$x\$;\nBEGIN READ ONLY; $_; COMMIT;\n"
		} @commands));
	}
	sleep 0.5;
	is(sql($workers), $before, 'whoever has no right to a command does nothing by trying it');

	# And stays in the transaction.
	my @idle = map { Idle->new($node, 'nobody', 'postgres', 'BEGIN', 'SAVEPOINT a', $_, 'ROLLBACK TO a') }
	  ('DROP EXTENSION trace_ext', 'DROP OWNED BY CURRENT_USER', 'ALTER DATABASE second RENAME TO third', 'DROP SCHEMA trace_ext CASCADE');
	sleep 0.5;
	is(sql($workers), $before, 'nor by an idle transaction that tried it');
	$_->end foreach @idle;

	# The same commands of one who has the right, where they are refused for another reason.
	$node->psql('postgres', $_) foreach ('DROP DATABASE postgres', 'BEGIN READ ONLY; DROP EXTENSION trace_ext; COMMIT',
		'BEGIN; DROP DATABASE second; COMMIT', 'DO $$ BEGIN DROP DATABASE second; END $$', 'CREATE DATABASE second TEMPLATE second',
		'ALTER DATABASE second RENAME TO postgres', 'DROP EXTENSION nothing, trace_ext', 'DROP SCHEMA trace_ext',
		'ALTER DATABASE second SET TABLESPACE nothing');
	sleep 0.5;
	is(sql($workers), $before, 'nor does who has it, where the command is refused before it begins');
}

# Who has the right: until its end, or until the subtransaction is rolled back.
{
	my $out = q{SELECT count(*) = 0 FROM trace_ext.workers() WHERE kind = 'worker' AND pid IS NOT NULL AND database = 'second'};
	my $in = q{SELECT count(*) = 1 FROM trace_ext.workers() WHERE kind = 'worker' AND pid IS NOT NULL AND database = 'second'};
	my %undone = (
		'a savepoint' => ['BEGIN', 'SAVEPOINT a', 'DROP EXTENSION trace_ext', 'ROLLBACK TO a'],
		'nested savepoints' => ['BEGIN', 'SAVEPOINT a', 'SAVEPOINT b', 'DROP EXTENSION trace_ext', 'RELEASE b', 'ROLLBACK TO a'],
		'an exception' => ['BEGIN', 'DO $$ BEGIN DROP EXTENSION trace_ext; RAISE EXCEPTION \'no\'; EXCEPTION WHEN OTHERS THEN NULL; END $$'],
		'an error' => ['BEGIN', 'DROP EXTENSION trace_ext', 'SELECT 1 / 0']);

	foreach my $name (sort keys %undone)
	{
		my $idle = Idle->new($node, $superuser, 'second', @{ $undone{$name} });
		becomes($in, "the worker comes back while the transaction is idle: $name");
		$idle->end;
	}
	foreach my $name ('at the top', 'in a savepoint that was released')
	{
		my $idle = Idle->new($node, $superuser, 'second', 'BEGIN', $name =~ /top/ ? 'SELECT 1' : 'SAVEPOINT a',
			'DROP EXTENSION trace_ext', $name =~ /top/ ? 'SELECT 1' : 'RELEASE a');
		sleep 1.5;
		is(sql($out), 't', "kept out while the extension is dropped $name");
		$idle->end;
		becomes($in, 'and back when that was rolled back');
	}
	sql('CREATE DATABASE copy TEMPLATE second');
	sql('ALTER DATABASE copy RENAME TO copied');
	sql('DROP DATABASE copied');
	pass('what needs the database for itself, gets it');
}

# A kept query belongs to a role, not to a name.
{
	my $kept = 'SELECT count(*) FROM trace_ext.cache_kept';

	sql_as('reader', q{SELECT trace_ext.cache_keep('SELECT count(*) FROM t')});
	becomes(q{SELECT count(*) = 1 FROM trace_ext.cache_entries WHERE role = 'reader'}, 'a kept query is computed');
	sql('ALTER ROLE reader RENAME TO renamed; SELECT trace_ext.cache_reset()');
	becomes(q{SELECT count(*) = 1 FROM trace_ext.cache_entries WHERE role = 'renamed'}, 'also once the role is renamed');
	sql('DROP ROLE renamed; CREATE ROLE reader SUPERUSER LOGIN; CREATE ROLE renamed SUPERUSER LOGIN; SELECT trace_ext.cache_reset()');
	becomes("$kept", 'gone with its role', '0');
	is(sql(q{SELECT count(*) FROM trace_ext.cache_entries WHERE role IN ('reader', 'renamed')}), 0, 'and never of another one of the name');
	# As a dump brings it.
	sql(q{INSERT INTO trace_ext.cache_kept (role, role_name, query, settings) VALUES (1, 'reader', 'SELECT count(*) FROM t', ''),
		(1, 'no_such_role', 'SELECT count(*) FROM t', ''), (1, 'other', 'SELECT count(*) FROM t', '')});
	is(sql('SELECT role::regrole FROM trace_ext.cache_kept'), 'other', 'a restored one is found by name, but no superuser');
	sql(q{INSERT INTO trace_ext.cache_kept (role, role_name, query, settings, retry_at)
		SELECT 'other'::regrole, 'other', 'SELECT ' || n, '', 'infinity' FROM generate_series(1, 999) n});
	like(sql_as('other', q{SELECT trace_ext.cache_keep('SELECT 0')}), qr/keeps 1000 queries already/, 'no more than 1,000 a role');
	sql('DELETE FROM trace_ext.cache_kept; DROP ROLE reader, renamed; CREATE ROLE reader LOGIN IN ROLE trace_ext_reader');
}

# So does a job: with a procedure of the name as well, one who comes to a role's name later does not get its jobs.
{
	my $procedure = q{CREATE SCHEMA app AUTHORIZATION brief; SET ROLE brief; CREATE TABLE app.log AS SELECT current_user AS who;
		CREATE PROCEDURE app.note() LANGUAGE sql AS 'INSERT INTO app.log SELECT current_user'; RESET ROLE;};

	sql("CREATE ROLE brief LOGIN; $procedure SELECT trace_ext.add_job('brief', 'app.note', '200 ms')");
	becomes(q{SELECT count(*) > 2 FROM app.log WHERE who = 'brief'}, 'a job runs as its owner');
	sql('ALTER ROLE brief RENAME TO renamed');
	becomes(q{SELECT count(*) > 2 FROM app.log WHERE who = 'renamed'}, 'also once the role is renamed');
	is(sql(q{SELECT owner FROM trace_ext.jobs WHERE name = 'brief'}), 'renamed', 'which is shown');
	sql('ALTER ROLE renamed RENAME TO brief');
	becomes(q{SELECT owner = 'brief' FROM trace_ext.jobs WHERE name = 'brief'}, 'each time');
	sql("DROP OWNED BY brief; DROP ROLE brief; CREATE ROLE brief LOGIN; $procedure SELECT trace_ext.alter_job('brief', next_run => now())");
	becomes(q{SELECT last_error LIKE '%is gone%' AND failing_jobs = 'brief' FROM trace_ext.jobs, trace_ext.status WHERE name = 'brief'}, 'its role is gone, it says');
	becomes(q{SELECT attempts = max_attempts FROM trace_ext.jobs WHERE name = 'brief'}, 'again and again');
	is(sql('SELECT count(*) FROM app.log'), 1, 'and it never runs as another role of the name');
	sql(q{SELECT trace_ext.drop_job('brief'); DROP OWNED BY brief; DROP ROLE brief});
}

# Queries of users: as their role, read only, for a while, in turns, and not in the worker.
{
	my $worker = q{SELECT pid FROM trace_ext.workers() WHERE kind = 'worker' AND database = 'postgres'};

	sql(q{CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql STABLE AS $$
		BEGIN
			RAISE LOG 'who: % % %', current_user, session_user, current_setting('transaction_read_only');
			BEGIN SET ROLE NONE; RAISE LOG 'escaped'; EXCEPTION WHEN OTHERS THEN NULL; END;
			BEGIN RESET SESSION AUTHORIZATION; RAISE LOG 'escaped'; EXCEPTION WHEN OTHERS THEN NULL; END;
			BEGIN SET transaction_read_only = off; RAISE LOG 'escaped'; EXCEPTION WHEN OTHERS THEN NULL; END;
			BEGIN EXECUTE 'CREATE TEMP TABLE x ()'; RAISE LOG 'escaped'; EXCEPTION WHEN OTHERS THEN NULL; END;
			RETURN current_user;
		END $$;
		CREATE FUNCTION slow() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM pg_sleep(600); RETURN 1; END $$;
		CREATE FUNCTION stubborn() RETURNS int LANGUAGE plpgsql STABLE AS $$
		BEGIN
			LOOP
				BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END;
			END LOOP;
		END $$;});
	sql_as('other', q{SELECT trace_ext.cache_keep('SELECT who() || count(*) FROM t', '1 hour')});
	sql(q{SET SESSION AUTHORIZATION quiet; SELECT trace_ext.cache_keep('SELECT who() || count(*) FROM t', '1 hour')});
	foreach my $role ('other', 'quiet')
	{
		$node->wait_for_log(qr/who: $role \w+ on/);
		pass("as $role, read only");
	}
	my $log = slurp_file($node->logfile);
	unlike($log, qr/escaped/, 'and it cannot become anybody else');
	like($log, qr/who: other other on/, 'connected as the role');
	my $pid = sql($worker);
	unlike($log, qr/\[$pid\] .*who: /, 'not in the worker');

	# Expensive ones, of two roles: as many as there are processes.
	sql('CREATE ROLE greedy1 LOGIN IN ROLE trace_ext_reader; CREATE ROLE greedy2 LOGIN IN ROLE trace_ext_reader');
	foreach my $role ('greedy1', 'greedy2')
	{
		sql_as($role, "SELECT trace_ext.cache_keep('SELECT slow() + $_ + count(*) FROM t', '1 hour')") foreach 1 .. 4;
	}
	sql_as('greedy1', "SELECT trace_ext.cache_keep('SELECT stubborn() + count(*) FROM t', '1 hour')");
	sql_as('greedy2', "SELECT trace_ext.cache_keep('SELECT repeat(''x'', 10000000) FROM t')");
	becomes(q{SELECT count(*) = 2 FROM trace_ext.workers() WHERE kind = 'cache'}, 'processes of users are busy');
	my $began = time();
	sql(join(' ', map { insert_sql([ event_row(uuid(1, 1), uuid(2, $_), '2020-01-01 00:00:00+00') ]) } 1 .. 20));
	becomes('SELECT count(*) = 0 FROM trace_ext.summary_deltas', 'folding goes on');
	cmp_ok(time() - $began, '<', 10, 'at once');
	my $most = 0;
	for (1 .. 20)
	{
		my $n = sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'trace_ext cache'});
		$most = $n if $n > $most;
		sleep 0.1;
	}
	is($most, 2, 'in trace_ext.cache_processes processes, no more');
	sql_as('other', q{SELECT trace_ext.cache_keep('SELECT count(*) + 77 FROM t')});
	becomes(q{SELECT count(*) = 1 FROM trace_ext.cache_entries WHERE query LIKE '%+ 77%'}, 'and others have their turn');
	becomes(q{SELECT count(*) >= 2 FROM trace_ext.cache_kept WHERE failures > 0 AND query LIKE '%slow()%' AND last_error LIKE '%statement timeout%' AND retry_at > clock_timestamp() + '5 s'},
		'what takes too long is ended, and rests nine times as long');
	$node->wait_for_log(qr/terminating background worker "trace_ext cache"/);
	pass('what will not be cancelled, is ended with its process');
	becomes(q{SELECT failures >= 2 FROM trace_ext.cache_kept WHERE query LIKE 'SELECT repeat%'}, 'what is never kept is tried more and more seldom');
	becomes(q{SELECT last_error LIKE 'its result was not kept%' FROM trace_ext.cache_kept WHERE query LIKE 'SELECT repeat%'}, 'and says why');
	is(sql($worker), $pid, 'the worker was never disturbed');
}

$node->stop;
done_testing();
