# TraceExtTest.pm
#		What the TAP tests of trace_ext share.
#
# Exactness is checked twice: by verify_summaries(), and by queries that use
# nothing of the extension but the table events, EXCEPT ALL both ways.  A bug
# that both sides of verify_summaries() share would else go unseen.

package TraceExtTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  new_node exact_ok differences uuid event_row insert_sql copy_sql ingest_sql
  seed_random psql_child try_psql answers crash kill_9 gives_way_ok away_from_midnight hear
);

# The columns that the generators below fill, in this order.
our @COLUMNS = qw(trace_id id parent_id "timestamp" kind name service_name
  attributes span_id upstream_span_id);

# new_node NAME, [SETTING => VALUE ...]: a running server whose database
# "postgres" has the extension; "streaming" and "logical" as in init().
sub new_node
{
	my ($name, %settings) = @_;
	my $init = delete $settings{init} // [];
	my $node = PostgreSQL::Test::Cluster->new($name);

	# Whatever the locale of who runs the tests.
	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ], @$init);
	# The module logs every statement; thousands here would hide what matters.
	$node->append_conf('postgresql.conf', "log_statement = none\n");
	# The days of the tests' events get partitions whatever day it is.
	$settings{'trace_ext.partition_reach'} //= '1000 years';
	$node->append_conf('postgresql.conf', "$_ = '$settings{$_}'\n")
	  foreach sort keys %settings;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION trace_ext');
	return $node;
}

my $plain_summaries = q{
	SELECT e.trace_id, count(*) AS event_count,
		   min(e."timestamp") AS first_timestamp, max(e."timestamp") AS last_timestamp,
		   (extract(epoch FROM max(upper(x.extent)) - min(lower(x.extent))) * 1000)::float8 AS duration_ms,
		   coalesce(array_agg(DISTINCT e.service_name COLLATE "C") FILTER (WHERE e.service_name IS NOT NULL), '{}') AS services,
		   count(DISTINCT e.service_name)::int AS service_count,
		   count(*) FILTER (WHERE e.kind = 'Error' OR
							(e.kind = 'HttpResponse' AND (e.attributes ->> 'status')::int >= 500)) AS error_count,
		   count(*) FILTER (WHERE e.kind = 'StateChange') AS access_count,
		   min(r.name) AS root_name, min(r.service_name) AS root_service,
		   min(lower(x.extent)) AS started_at, max(upper(x.extent)) AS ended_at
	  FROM trace_ext.events e CROSS JOIN LATERAL
		   (SELECT trace_ext.event_extent(e."timestamp", e.duration_ns, e.stamped_at_end) AS extent OFFSET 0) x
	  LEFT JOIN (SELECT DISTINCT ON (trace_id) trace_id, name, service_name
				   FROM trace_ext.events WHERE parent_id IS NULL
				  ORDER BY trace_id, "timestamp", id) r ON r.trace_id = e.trace_id
	 GROUP BY e.trace_id};
my $plain_counts = q{
	SELECT date_trunc('hour', "timestamp", 'UTC'), service_name, kind, count(*),
		   count(*) FILTER (WHERE kind = 'Error' OR
							(kind = 'HttpResponse' AND (attributes ->> 'status')::int >= 500))
	  FROM trace_ext.events GROUP BY 1, 2, 3};
my $plain_latencies = q{
	SELECT date_trunc('hour', "timestamp", 'UTC'), service_name, kind, trace_ext.operation(kind, name), count(*),
		   coalesce(trace_ext.histogram_agg(duration_ns), '{}')
	  FROM trace_ext.events GROUP BY 1, 2, 3, 4};

# Parents are of other traces here, so all calls are between spans.
my $plain_calls = q{
	SELECT caller.service, callee.service, e.link_type, count(*), count(DISTINCT e.trace_id),
		   count(*) FILTER (WHERE callee.status = 'ERROR')
	  FROM trace_ext.distributed_edges e
	  JOIN trace_ext.distributed_spans caller ON caller.trace_id = e.trace_id AND caller.span_id = e.from_span
	  JOIN trace_ext.distributed_spans callee ON callee.trace_id = e.trace_id AND callee.span_id = e.to_span
	 WHERE caller.service <> callee.service GROUP BY 1, 2, 3};

# The query that finds what is not exact; no row if all is.
sub both_ways
{
	my (@pairs) = @_;
	my (@with, @select);

	while (my ($what, $maintained, $plain) = splice(@pairs, 0, 3))
	{
		my $n = @select;
		push @with, "maintained$n AS MATERIALIZED ($maintained), plain$n AS MATERIALIZED ($plain)";
		push @select, qq{
			SELECT '$what: plain query only', to_jsonb(x)::text
			  FROM (TABLE plain$n EXCEPT ALL TABLE maintained$n) x
			UNION ALL
			SELECT '$what: maintained only', to_jsonb(x)::text
			  FROM (TABLE maintained$n EXCEPT ALL TABLE plain$n) x};
	}
	return 'WITH ' . join(', ', @with) . join(' UNION ALL ', @select);
}

my $differences = both_ways(
	'trace_summaries', 'SELECT * FROM trace_ext.trace_summaries', $plain_summaries,
	'event_counts', 'SELECT * FROM trace_ext.event_counts', $plain_counts,
	'latencies', 'SELECT hour, service_name, kind, operation, calls, latency FROM trace_ext.latencies', $plain_latencies,
	'service_calls', 'SELECT * FROM trace_ext.service_calls', $plain_calls,
	'list_traces()', 'SELECT * FROM trace_ext.list_traces(10000)',
	"SELECT * FROM ($plain_summaries) s ORDER BY last_timestamp DESC, trace_id DESC LIMIT 10000",
	'count_events()', 'SELECT trace_ext.count_events()', 'SELECT count(*) FROM trace_ext.events',
	'count_traces()', 'SELECT trace_ext.count_traces()', 'SELECT count(DISTINCT trace_id) FROM trace_ext.events')
  . q{ UNION ALL
	SELECT 'verify_summaries() ' || item, concat_ws(' ', key, stored, recomputed)
	  FROM trace_ext.verify_summaries()};

# What is not exact, as text; '' if all is.
sub differences
{
	my ($node, $db) = @_;
	return $node->safe_psql($db // 'postgres', "SELECT * FROM ($differences) d LIMIT 20");
}

# exact_ok NODE, NAME, [DATABASE]
sub exact_ok
{
	my ($node, $name, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(differences($node, $db), '', $name);
}

# All that is answered about the events, to compare two databases by.
sub answers
{
	my ($node, $db) = @_;
	return $node->safe_psql($db // 'postgres', q{
		SELECT 'events', count(*), md5(string_agg(md5(e::text), '' ORDER BY trace_id, id, "timestamp")) FROM trace_ext.events e;
		SELECT 'counts', trace_ext.count_events(), trace_ext.count_traces();
		SELECT 'summaries', count(*), md5(string_agg(md5(s::text), '' ORDER BY trace_id)) FROM trace_ext.trace_summaries s;
		SELECT 'event_counts', count(*), md5(string_agg(md5(c::text), '' ORDER BY hour, service_name, kind)) FROM trace_ext.event_counts c;
		SELECT 'list_traces', md5(string_agg(md5(l::text), '')) FROM trace_ext.list_traces(1000) l;
		SELECT 'service_calls', sum(call_count), md5(string_agg(md5(c::text), '' ORDER BY from_service, to_service, link_type)) FROM trace_ext.service_calls c;
		SELECT 'service_map', md5(string_agg(md5((from_service, to_service, link_type, calls, errors)::text), '' ORDER BY from_service, to_service, link_type))
		  FROM trace_ext.service_map('-infinity', 'infinity') m;
		SELECT 'errors', count(*), md5(string_agg(md5(i::text), '' ORDER BY id)) FROM trace_ext.ingest_errors i;
		SELECT 'verify', count(*) FROM trace_ext.verify_summaries();
	});
}

# Random numbers that a failed run can be repeated with, as far as processes
# that race with each other can be: set TEST_SEED to the number printed.
sub seed_random
{
	my $seed = $ENV{TEST_SEED} // int(time() ^ ($$ << 8)) & 0x7fffffff;
	srand($seed);
	diag("TEST_SEED=$seed");
	return $seed;
}

# uuid SPACE, NUMBER, [NUMBER]: always the same for the same arguments.
sub uuid
{
	my ($space, $a, $b) = @_;
	return sprintf('%08x-0000-4000-8000-%04x%08x', $space, $b // 0, $a);
}

my @kinds = qw(FunctionCall StateChange HttpRequest HttpResponse Error Custom);

# A random event of a trace, as a reference to a list in the order of @COLUMNS.
sub event_row
{
	my ($trace, $id, $time) = @_;
	my $kind = $kinds[ int(rand(@kinds)) ];
	my $attributes =
		$kind eq 'StateChange' ? '{"access_type": "' . (qw(Read Write AtomicRMW))[ int(rand(3)) ] . '"}'
	  : $kind eq 'HttpResponse' ? '{"status": ' . (200, 404, 500, 503)[ int(rand(4)) ] . '}'
	  : undef;
	# As ingest_events() names it, so that the way in makes no difference.
	my $name = 'name ' . int(rand(1000));
	$name = "GET $name" if $kind eq 'HttpRequest';
	($name) = $attributes =~ /(\d+)/ if $kind eq 'HttpResponse';
	my $service = (undef, 'api', 'bank', 'mail', 'Zürich')[ int(rand(5)) ];

	my @spans = map { (undef, 'a', 'b', 'c', 'd')[ int(rand(5)) ] } 1 .. 2;

	return [ $trace, $id, rand() < 0.3 ? undef : uuid(9, int(rand(1000))), $time, $kind, $name, $service, $attributes, @spans ];
}

sub quoted
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	$value =~ s/'/''/g;
	return "'$value'";
}

sub insert_sql
{
	my ($rows, $table, $end) = @_;
	$table //= 'trace_ext.events';
	return "INSERT INTO $table (" . join(', ', @COLUMNS) . ') VALUES '
	  . join(', ', map { '(' . join(', ', map { quoted($_) } @$_) . ')' } @$rows)
	  . ($end // '') . ';';
}

sub copy_sql
{
	my ($rows, $table) = @_;
	$table //= 'trace_ext.events';
	return "COPY $table (" . join(', ', @COLUMNS) . ") FROM STDIN;\n"
	  . join('', map { join("\t", map { $_ // '\N' } @$_) . "\n" } @$rows) . "\\.\n";
}

sub json_text
{
	my ($value) = @_;
	return 'null' unless defined $value;
	$value =~ s/(["\\])/\\$1/g;
	return "\"$value\"";
}

# The event as clients post it.
sub event_json
{
	my ($trace, $id, $parent, $time, $kind, $name, $service, $attributes, $span, $upstream) = @{ $_[0] };
	my ($access) = ($attributes // '') =~ /"access_type": "(\w+)"/;
	my ($status) = ($attributes // '') =~ /"status": (\d+)/;
	$name =~ s/^GET // if $kind eq 'HttpRequest';
	$time =~ s/ /T/;
	$time =~ s/\+00$/Z/;
	my $text = json_text($name);
	my %kinds = (
		FunctionCall => "\"function_name\": $text, \"module\": \"m\", \"args\": {}, \"file\": \"f\", \"line\": 1",
		StateChange => "\"variable\": $text, \"old_value\": 1, \"new_value\": 2, \"location\": \"l\", "
		  . '"access_type": "' . ($access // '') . '"',
		HttpRequest => "\"method\": \"GET\", \"url\": $text, \"headers\": {}, \"body\": null",
		HttpResponse => '"status": ' . ($status // 0) . ', "headers": {}, "body": null, "duration_ms": 1',
		Error => "\"error_type\": $text, \"message\": \"m\", \"stack_trace\": []",
		Custom => "\"name\": $text, \"data\": {}");
	return sprintf('{"id": "%s", "trace_id": "%s", "parent_id": %s, "timestamp": "%s", "kind": %s, '
		  . '"metadata": {"service_name": %s, "distributed_span_id": %s, "upstream_span_id": %s, "thread_id": "t", "process_id": 1, "tags": {}}, '
		  . '"causality_vector": [], "lock_set": []}',
		$id, $trace, json_text($parent), $time, "{\"$kind\": {$kinds{$kind}}}", json_text($service), json_text($span), json_text($upstream));
}

sub ingest_sql
{
	my ($rows) = @_;
	return "SELECT * FROM trace_ext.ingest_events('" . '{"events": [' . join(', ', map { event_json($_) } @$rows) . "]}');";
}

# Runs a query that may fail; returns its status, output and errors.
sub try_psql
{
	my ($node, $sql, %options) = @_;
	my ($out, $err) = ('', '');
	my $status = $node->psql($options{db} // 'postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 1);
	return ($status, $out, $err);
}

# Kills the postmaster and starts it again.  Backends that outlive it end by
# themselves, and a new one refuses to start until they have.
sub crash
{
	my ($node) = @_;
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;

	$node->kill9;
	# Until init has reaped it, start() takes it for a running one.
	sleep(0.1) while kill(0, $pid) && time() < $deadline;
	until ($node->start(fail_ok => 1))
	{
		die 'the server did not start again' if time() > $deadline;
		sleep(0.2);
	}
}

# kill_9 PID: kills a process of a server, and returns once the postmaster knows. What is
# killed goes on until it has its turn, and until then the server takes connections as ever.
sub kill_9
{
	my ($pid) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;

	kill('KILL', $pid);
	sleep(0.01) while kill(0, $pid) && time() < $deadline;
}

# hear NODE, LISTEN, SQL, REGEX: what a session that listens is told, until it was told that; SQL is of another one.
sub hear
{
	my ($node, $listen, $sql, $regex) = @_;
	my ($in, $out) = ("$listen\n\\echo listens\n", '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out);
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	$session->pump until $out =~ /listens/;
	$node->safe_psql('postgres', $sql);
	while ($out !~ $regex && time() < $deadline)
	{
		$in .= "SELECT pg_sleep(0.1);\n\\echo looked\n";
		my $looks = () = $out =~ /looked/g;
		$session->pump until (() = $out =~ /looked/g) > $looks;
	}
	$in .= "\\q\n";
	$session->finish;
	return $out;
}

# away_from_midnight SECONDS: what is of today now is still so after as many seconds.
sub away_from_midnight
{
	my ($seconds) = @_;
	my $left = 86400 - time() % 86400;
	sleep($left + 1) if $left < $seconds;
}

# What a query takes, in milliseconds, and whether its timeout cancelled it. It is rolled
# back, so that the next one has the same to do.
sub timed
{
	my ($node, $query, $timeout) = @_;
	my ($status, $out, $err) = $node->psql('postgres',
		"SET client_min_messages = error;\nBEGIN;\nSET statement_timeout = $timeout;\n\\timing on\n$query;\n",
		on_error_stop => 0);
	my ($ms) = $out =~ /^Time: ([\d.]+) ms/m;

	die "unexpected: $out $err" if !defined $ms || $err =~ /ERROR:(?!.*statement timeout)/;
	return ($ms, $err =~ /statement timeout/ ? 1 : 0);
}

# gives_way_ok NODE, NAME, QUERY, MOMENTS, LONGEST: cancelled at as many random moments, a query goes on
# for less than that many milliseconds. Returns the longest it did; undef for a query that is too short.
#
# Where the machine is busy with something else one query takes as long as ten: one that has ended before
# its moment tells how long it takes now, and what was late is asked for the same moment again.
sub gives_way_ok
{
	my ($node, $name, $query, $moments, $longest) = @_;
	my ($full) = timed($node, $query, 0);
	my $worst = 0;
	my $cancelled = 0;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for (my $tries = 0; $cancelled < $moments && $tries < 20 * $moments; $tries++)
	{
		my $moment = 1 + int(rand($full * 0.9));
		my ($ms, $was_cancelled) = timed($node, $query, $moment);
		if (!$was_cancelled)
		{
			$full = $ms;
			next;
		}
		my $late = $ms - $moment;
		for (1 .. 3)
		{
			last if $late < $longest;
			($ms, $was_cancelled) = timed($node, $query, $moment);
			$late = $ms - $moment if $was_cancelled && $ms - $moment < $late;
		}
		$cancelled++;
		$worst = $late if $late > $worst;
	}
	note sprintf('%s: %d ms in all, cancelled %d times, at worst after %.1f ms', $name, $full, $cancelled, $worst);
	return if $full < 100 && $cancelled < $moments;
	is($cancelled, $moments, "$name was cancelled");
	cmp_ok($worst, '<', $longest, "$name gave way at once");
	return $worst;
}

# psql_child CODE: runs CODE in a child process, which must not end the tests'
# servers when it ends; returns its process id.
my @children;
sub psql_child
{
	my ($code) = @_;
	my $pid = fork();
	die "could not fork: $!" unless defined $pid;
	if ($pid)
	{
		push @children, $pid;
		return $pid;
	}
	my $ok = eval { $code->(); 1 };
	warn $@ unless $ok;
	require POSIX;
	POSIX::_exit($ok ? 0 : 1);
}

# A test that dies takes its children along: nobody would ever tell them to stop.
END
{
	my $status = $?;
	if ($status != 0)
	{
		require POSIX;
		kill('KILL', grep { waitpid($_, POSIX::WNOHANG()) == 0 } @children);
	}
	$? = $status;
}

# A psql that is refused ends before it has read its query, and who writes the query then
# dies of the broken pipe.  Who polls meant to ask again.
{
	no warnings 'redefine';
	my $poll = \&PostgreSQL::Test::Cluster::poll_query_until;
	*PostgreSQL::Test::Cluster::poll_query_until = sub {
		for (;;)
		{
			my $reached = eval { $poll->(@_) };
			return $reached if $@ eq '';
			die $@ unless $@ =~ /Broken pipe/;
			sleep(0.1);
		}
	};
}

1;
