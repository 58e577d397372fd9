# 010_cache_storm.pl
#		Sessions write, read through the cache and read directly, at random, at all
#		isolation levels: each answer is compared with that of its query in the same
#		statement, so in the same snapshot.
#
# Twice: with room for everything, where answers live long enough to become wrong,
# and in a cache so small that it evicts all the time.  STORM_SECONDS is the length
# of each.  A WRONG among pgbench's errors is a wrong answer.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my $seed = seed_random();
my $seconds = $ENV{STORM_SECONDS} // 15;
my $clients = 10;

my $setup = q{
	CREATE TABLE s1 (k int, v int);
	CREATE TABLE s2 (k int, v int);
	CREATE TABLE s3 (k int, v int) PARTITION BY RANGE (k);
	CREATE TABLE s3a PARTITION OF s3 FOR VALUES FROM (0) TO (5);
	CREATE TABLE s3b PARTITION OF s3 FOR VALUES FROM (5) TO (1000);
	CREATE TABLE s4 (k int, v int);
	CREATE TABLE s5 (tenant int, v int);
	CREATE TABLE s6 (at timestamptz);
	CREATE TABLE version (n int);
	INSERT INTO s1 SELECT i, i FROM generate_series(1, 20) i;
	INSERT INTO s2 SELECT i, i FROM generate_series(1, 20) i;
	INSERT INTO s3 SELECT i % 10, i FROM generate_series(1, 20) i;
	INSERT INTO s5 SELECT i % 3, i FROM generate_series(1, 20) i;
	INSERT INTO s6 VALUES ('2026-01-02 03:04:05+00');
	INSERT INTO version VALUES (0);
	CREATE VIEW sv AS SELECT s1.k, s1.v + s2.v AS v FROM s1 JOIN s2 USING (k);
	CREATE FUNCTION sf(x int) RETURNS numeric LANGUAGE plpgsql STABLE AS
		$$ BEGIN RETURN (SELECT sum(v) FROM s3 WHERE k >= x) + (SELECT count(*) FROM s1); END $$;
	CREATE FUNCTION ver() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN 0; END $$;
	ALTER TABLE s5 ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON s5 USING (tenant = current_setting('storm.tenant')::int);
	CREATE ROLE storm_a;
	CREATE ROLE storm_b;
	GRANT trace_ext_reader TO storm_a, storm_b;
	GRANT SELECT ON s5 TO storm_a, storm_b;
	CREATE FUNCTION same(query text, a anyelement, b anyelement) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		IF a IS DISTINCT FROM b THEN
			RAISE EXCEPTION 'WRONG: cached %, direct %, %: %', a, b, current_setting('transaction_isolation'), query;
		END IF;
		RETURN 1;
	END $$;
	CREATE FUNCTION in_order(a int, b int, c int) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		IF a > b OR b > c THEN
			RAISE EXCEPTION 'WRONG: version % between % and %', b, a, c;
		END IF;
		RETURN 1;
	END $$;
};

my @writes = (
	'UPDATE s1 SET v = v + 1 WHERE k = :k;',
	'INSERT INTO s2 VALUES (:k, :k);',
	'DELETE FROM s2 WHERE ctid = (SELECT min(ctid) FROM s2);',
	'INSERT INTO s3 VALUES (:k, 1);',
	'SAVEPOINT a; UPDATE s3b SET v = v + 1; ROLLBACK TO a;',
	'SAVEPOINT a; INSERT INTO s1 VALUES (:k, 3); RELEASE a;',
	'DELETE FROM s1 WHERE ctid = (SELECT min(ctid) FROM s1);',
	'WITH i AS (INSERT INTO s4 VALUES (:k, 1) RETURNING v) UPDATE s5 SET v = s5.v + i.v FROM i WHERE tenant = :k % 3;',
	q{UPDATE s6 SET at = at + interval '1 hour';});

# Query, type, argument, and a table that its function reads: as that is not locked
# before the statement begins, DDL could pass between the two answers.
my @reads = (
	[ 'SELECT sum(v) FROM s1', 'bigint' ],
	[ 'SELECT sum(v) FROM sv', 'bigint' ],
	[ 'SELECT sum(v) FROM s3', 'bigint' ],
	[ 'SELECT sf($1)', 'numeric', ':a', 's3' ],
	[ 'SELECT count(*) FROM s2 WHERE k = $1', 'bigint', ':a' ],
	[ 'SELECT sum(v) FROM s4', 'bigint' ],
	[ 'SELECT max(at)::text FROM s6', 'text' ]);

sub one_of
{
	my ($variable, @bodies) = @_;
	my $n = 0;
	return join('', map { (++$n == 1 ? '\if' : '\elif') . " :$variable = $n\n$_\n" } @bodies) . "\\endif\n";
}

sub compared
{
	my ($query, $type, $argument, $table) = @{ $_[0] };
	my $direct = $query;
	$direct =~ s/\$1/$argument/ if defined $argument;
	return (defined $table ? "LOCK $table IN ACCESS SHARE MODE;\n" : '') . "SELECT same('$query', (SELECT v FROM trace_ext.cached('$query', NULL" . (defined $argument ? ", $argument" : '')
	  . ") AS t(v $type)), ($direct));";
}

# A transaction: perhaps a write, a read, perhaps a write, a read, and an end.
my $reads = @reads;
my $transaction = "\\set iso random(1, 4)\n\\set op random(1, :one_in)\n\\set op2 random(1, :one_in)\n"
  . "\\set q random(1, $reads)\n\\set q2 random(1, $reads)\n\\set zone random(1, 6)\n"
  . "\\set k random(0, 9)\n\\set a random(0, :range)\n\\set end random(1, 10)\n"
  . one_of('iso', 'BEGIN ISOLATION LEVEL REPEATABLE READ;', 'BEGIN ISOLATION LEVEL SERIALIZABLE;', 'BEGIN;', 'BEGIN;')
  . one_of('zone', q{SET LOCAL TimeZone = 'Asia/Kolkata';}, q{SET LOCAL DateStyle = 'German';})
  . one_of('op', @writes)
  . one_of('q', map { compared($_) } @reads)
  . one_of('op2', @writes)
  . one_of('q2', map { compared($_) } @reads)
  . one_of('end', 'ROLLBACK;', "PREPARE TRANSACTION 'g:client_id'; SELECT pg_sleep(0.002 * :k); COMMIT PREPARED 'g:client_id';",
	map { 'COMMIT;' } 3 .. 10);

# Roles and settings that a policy goes by
my $policy = "\\set role random(1, 2)\n\\set tenant random(0, 2)\nBEGIN;\n"
  . one_of('role', 'SET LOCAL ROLE storm_a;', 'SET LOCAL ROLE storm_b;')
  . "SET LOCAL storm.tenant = ':tenant';\n"
  . compared([ 'SELECT sum(v) FROM s5', 'bigint' ]) . "\nCOMMIT;\n";

# DDL that readers cannot pass: what is compared with holds a lock on it.
my $ddl = "\\set op random(1, 6)\n\\set k random(0, 9)\nBEGIN;\nSELECT pg_advisory_xact_lock(1);\n"
  . one_of('op', 'TRUNCATE s4; INSERT INTO s4 VALUES (1, :k);',
	'TRUNCATE s4;',
	q{LOCK s3; DO $$ BEGIN
		IF (SELECT relispartition FROM pg_class WHERE oid = 's3b'::regclass) THEN
			ALTER TABLE s3 DETACH PARTITION s3b;
			CREATE TABLE s3c PARTITION OF s3 FOR VALUES FROM (5) TO (1000);
		ELSE
			DROP TABLE s3c;
			ALTER TABLE s3 ATTACH PARTITION s3b FOR VALUES FROM (5) TO (1000);
		END IF; END $$;},
	'CREATE OR REPLACE VIEW sv AS SELECT s1.k, s1.v - s2.v + :k AS v FROM s1 JOIN s2 USING (k);',
	q{ALTER POLICY p ON s5 USING (tenant = current_setting('storm.tenant')::int AND v > :k);},
	'ALTER TABLE s4 ALTER COLUMN v TYPE int USING v + 1;')
  . "COMMIT;\n";

# Functions are replaced without a lock: what is called is the version before the
# call, or after it, or one in between.  The number in the table comes after it.
my $replace = q{SELECT pg_advisory_lock(2);
	SELECT n + 1 AS n FROM version \gset
	CREATE OR REPLACE FUNCTION ver() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN :n; END $$;
	UPDATE version SET n = :n;
	SELECT pg_advisory_unlock(2);
};
my $call = q{SELECT n AS a FROM version \gset
	SELECT v AS b FROM trace_ext.cached('SELECT ver()') AS t(v int) \gset
	SELECT n + 1 AS c FROM version \gset
	SELECT in_order(:a, :b, :c);
};

# What was tracked is released, and tracked anew.
my $release = q{SELECT trace_ext.cache_invalidate('%');
	SELECT relations FROM trace_ext.cache_stats;
};

my $node = new_node('storm', shared_preload_libraries => 'trace_ext', 'trace_ext.cache_trusted_functions' => 'public.*',
	max_prepared_transactions => 2 * $clients, deadlock_timeout => '100ms');
$node->safe_psql('postgres', $setup);
my @scripts = ([ $transaction, 200 ], [ $policy, 20 ], [ $ddl, 1 ], [ $replace, 1 ], [ $call, 20 ], [ $release, 2 ]);
my @arguments;
for my $i (0 .. $#scripts)
{
	my $file = "$PostgreSQL::Test::Utils::tmp_check/storm_$i.sql";
	append_to_file($file, $scripts[$i][0]);
	push @arguments, "--file=$file\@$scripts[$i][1]";
}

sub stats
{
	my ($column) = @_;
	return $node->safe_psql('postgres', "SELECT $column FROM trace_ext.cache_stats");
}

sub storm
{
	my ($name, %variables) = @_;
	my ($out, $err);

	$node->safe_psql('postgres', 'SELECT trace_ext.cache_reset()');
	IPC::Run::run([ 'pgbench', '-n', "--client=$clients", "--time=$seconds", "--random-seed=$seed", '--max-tries=1', @arguments,
			(map { "--define=$_=$variables{$_}" } sort keys %variables), $node->connstr('postgres') ],
		'<', \undef, '>', \$out, '2>', \$err);
	is($?, 0, "$name: no session failed") or diag($err);
	unlike($err, qr/WRONG/, "$name: no wrong answer");
	my ($done) = $out =~ /number of transactions actually processed: (\d+)/;
	cmp_ok($done, '>', 100, "$name: $done transactions");
	my $hits = stats('local_hits + shared_hits');
	cmp_ok($hits, '>', $done / 20, "$name: $hits answers came from the cache");
	note($node->safe_psql('postgres', 'SELECT to_jsonb(c) FROM trace_ext.cache_stats c'));
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', "$name: nothing is left prepared");
}

# With few writes answers live long, with many they are just about to be wrong.
storm('rare writes', one_in => 100, range => 9);
storm('many writes', one_in => 14, range => 9);

$node->append_conf('postgresql.conf', "trace_ext.cache_size = '64kB'\ntrace_ext.cache_local_size = 8\n");
$node->restart;
storm('tiny cache', one_in => 60, range => 99);
cmp_ok(stats('evictions'), '>', 100, 'the tiny cache evicted all the time');
cmp_ok(stats('bytes'), '<=', 64 * 1024, 'the tiny cache is as large as it may be');

unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP:/, 'no process fell');
$node->stop;
done_testing();
