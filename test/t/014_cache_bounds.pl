# 014_cache_bounds.pl
#		What the result cache takes of those who use it, and of those who do not: the
#		memory of a computation, what is tracked, and what a commit looks at.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

my $node = new_node('bounds',
	shared_preload_libraries => 'trace_ext',
	max_prepared_transactions => 5,
	max_locks_per_transaction => 200,
	shared_buffers => '2MB',
	work_mem => '1MB',
	'trace_ext.workers' => 'off',
	# ANALYZE of a catalog has results computed anew, and here it is counted what they depend on.
	autovacuum => 'off',
	'trace_ext.cache_size' => '8MB',
	'trace_ext.cache_entry_size' => '1MB',
	'trace_ext.cache_relations' => 512);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub relations { return sql('SELECT relations FROM trace_ext.cache_stats'); }

# cached QUERY, TYPE: a call whose only column is v.
sub cached { return "SELECT v FROM trace_ext.cached('$_[0]') AS t (v $_[1])"; }

# growth SQL: by how many MB the session's memory grew at its highest.
sub growth
{
	my $high = q{SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s+(\d+)')::int};
	my @lines = split /\n/, sql("SELECT 1 FROM trace_ext.cached('SELECT 1') AS t (v int);\n$high;\n$_[0];\n$high;");
	return (($lines[-1] - $lines[1]) / 1024, $lines[-2]);
}

# A computation takes no more than an entry may, however large the result is.
sql(q{
	CREATE TABLE large (v text);
	ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
	INSERT INTO large SELECT repeat(chr(65 + i % 26), 1000000) FROM generate_series(1, 60) i;
	CREATE TABLE middle (v text);
	ALTER TABLE middle ALTER v SET STORAGE EXTERNAL;
	INSERT INTO middle SELECT repeat(chr(65 + i % 26), 20000) FROM generate_series(1, 3000) i;
	CREATE TABLE small (v text);
	ALTER TABLE small ALTER v SET STORAGE PLAIN;
	INSERT INTO small SELECT repeat(chr(65 + i % 26), 2000) FROM generate_series(1, 30000) i;});
foreach my $table ('large', 'middle', 'small')
{
	my $measure = "sum(length(v)), count(DISTINCT left(v, 1))";
	my ($grown, $answer) = growth("SELECT $measure FROM (" . cached("SELECT v FROM $table", 'text') . ') x');
	is($answer, '60000000|26', "60 MB of $table values arrive");
	note("$table: $grown MB");
	cmp_ok($grown, '<', 10, "60 MB of $table values take no 10 MB");
}
is(sql(q{SELECT count(*) FROM trace_ext.cache_entries WHERE query LIKE '%large%'}), 0, 'they are not kept');
cmp_ok(sql('SELECT too_large FROM trace_ext.cache_stats'), '>=', 3, 'and that is counted');

# What is kept refers to nothing outside: it outlives the rows it was made from.
sql(cached('SELECT v FROM middle LIMIT 3', 'text'));
is(sql('SELECT count(*), sum(length(v)) FROM (' . cached('SELECT v FROM middle LIMIT 3', 'text') . ') x'), '3|60000', 'out of line values are kept whole');

# What no entry depends on is tracked no more.
sql('SELECT trace_ext.cache_reset()');
my $none = relations();
cmp_ok($none, '<=', 0, 'after cache_reset() nothing is tracked');
sql(q{DO $$ BEGIN FOR i IN 1 .. 300 LOOP
		EXECUTE format('CREATE TABLE many_%s (v int)', i);
		IF i % 50 = 0 THEN COMMIT; END IF;
	END LOOP; END $$});
my $ask_all = q{DO $$ BEGIN FOR i IN 1 .. 300 LOOP
		PERFORM v FROM trace_ext.cached(format('SELECT v FROM many_%s', i)) AS t (v int);
	END LOOP; END $$};
sql($ask_all);
is(relations(), 302, '300 tables are tracked, functions and roles');
sql('DROP TABLE many_1, many_2, many_3');
is(relations(), 299, 'dropped ones no more');
sql(q{SELECT trace_ext.cache_invalidate('%many_2_')});
is(relations(), 289, 'nor those whose results were dropped');
sql(q{BEGIN; DROP TABLE many_4; ROLLBACK});
is(relations(), 289, 'a drop that is rolled back releases nothing');

# Those whose results had to leave a full cache are released, too, as others come.
sql(q{DO $$ BEGIN FOR i IN 1 .. 40 LOOP
		PERFORM v FROM trace_ext.cached(format('SELECT repeat(v, 1000) || %s FROM small LIMIT 1', i)) AS t (v text);
		PERFORM v FROM trace_ext.cached(format('SELECT v || %s FROM small LIMIT 400', i)) AS t (v text);
	END LOOP; END $$});
cmp_ok(relations(), '<', 289, 'nor those whose results were evicted');

# A relation that is tracked again begins anew: what it was marked with before is lost,
# so those who might not have been marked must be waited for.
sql('SELECT trace_ext.cache_reset(); CREATE TABLE again (v int); INSERT INTO again VALUES (1)');
my $count = 'SELECT count(*) AS v FROM again';
sub counted { return sql(cached($count, 'bigint')); }
is(counted(), 1, 'one row');
sql("BEGIN; INSERT INTO again VALUES (2); PREPARE TRANSACTION 'p'");
sql('SELECT trace_ext.cache_reset()');
relations();
is(counted(), 1, 'one row, while another is prepared');
counted() for 1 .. 3;
sql("COMMIT PREPARED 'p'");
is(counted(), 2, 'two when that was committed, although its mark was lost');
is(counted(), 2, 'and again');

my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($old->query_safe($count), 2, 'a snapshot of two rows');
sql('INSERT INTO again VALUES (3)');
sql('SELECT trace_ext.cache_reset()');
relations();
is(counted(), 3, 'three rows for all others') for 1 .. 3;
is($old->query_safe(cached($count, 'bigint')), 2, 'and two for the old snapshot');
$old->query_safe('COMMIT');
$old->quit;

# A session's own copy outlives the entry and the slot, and is not right any more.
{
	my $reader = $node->background_psql('postgres');
	my $before = counted();
	$reader->query_safe(cached($count, 'bigint')) for 1 .. 2;
	is(sql(q{SELECT count(*) FROM trace_ext.cache_entries WHERE query LIKE '%again%'}), 1, 'there is an entry');
	sql(q{DO $$ BEGIN FOR i IN 1 .. 200 LOOP
			PERFORM v FROM trace_ext.cached(format('SELECT v || %s FROM small LIMIT 400', i)) AS t (v text);
		END LOOP; END $$});
	is(sql(q{SELECT count(*) FROM trace_ext.cache_entries WHERE query LIKE '%again%'}), 0, 'it was evicted');
	relations();
	sql('INSERT INTO again VALUES (3)');
	is($reader->query_safe(cached($count, 'bigint')), $before + 1, 'the copy is not given');
	$reader->quit;
}

# A writer is noticed wherever its lock is: beyond the fast path, or moved out of it
# by one who waits for a strong lock.
sub is_noticed
{
	my ($sql, $name) = @_;
	my $before = counted();
	is(counted(), $before, "$name: kept");
	sql($sql);
	is(counted(), sql($count), "$name: noticed");
	isnt(counted(), $before, "$name: and it did write");
}
my $many = join(' ', map { "LOCK many_$_ IN ROW EXCLUSIVE MODE;" } 5 .. 150);
is_noticed('INSERT INTO again VALUES (4)', 'alone');
is_noticed("BEGIN; INSERT INTO again VALUES (5); $many COMMIT", 'before 145 others');
is_noticed("BEGIN; $many INSERT INTO again VALUES (6); COMMIT", 'after 145 others');
is_noticed("BEGIN; SAVEPOINT a; INSERT INTO again VALUES (7); RELEASE a; COMMIT", 'in a subtransaction');
is_noticed("BEGIN; LOCK again IN EXCLUSIVE MODE; INSERT INTO again VALUES (8); COMMIT", 'with a strong lock as well');
is_noticed("BEGIN; INSERT INTO again VALUES (9); PREPARE TRANSACTION 'q'; COMMIT PREPARED 'q'", 'prepared');
is_noticed('TRUNCATE again', 'truncated');
is_noticed('COPY again FROM PROGRAM $$echo 1$$', 'copied');
{
	my $writer = $node->background_psql('postgres');
	my $waiter = $node->background_psql('postgres', on_error_stop => 0);
	my $before = counted();
	$writer->query_safe('BEGIN; INSERT INTO again VALUES (10)');
	$waiter->query_until(qr/begun/, "\\echo begun\nBEGIN; LOCK again IN SHARE MODE; COMMIT;\n");
	$node->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'again'::regclass AND NOT granted)}) or die 'nobody waits';
	is(sql(q{SELECT fastpath FROM pg_locks WHERE relation = 'again'::regclass AND mode = 'RowExclusiveLock' AND granted}), 'f', 'the lock has moved');
	$writer->query_safe('COMMIT');
	is(counted(), $before + 1, 'noticed');
	$writer->quit;
	$waiter->quit;
}

$node->stop;
done_testing();
