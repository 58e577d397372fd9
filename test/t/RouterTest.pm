# RouterTest.pm
#		What the tests of the router share: random events that cross all edges, and every
#		question that can be asked of them.
#
# A router must answer what a single store with the same events answers, to the byte.
# So each question is asked of both, and the rows of the answers are compared.

package RouterTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;
use Time::HiRes qw(time);
use TraceExtTest;

our @EXPORT = qw(random_events json_batch send_batches shuffled make_store make_router conninfo
  questions not_covered ask same_answers_ok);

# ----------------------------------------------------------------
#		Events
# ----------------------------------------------------------------

sub random_uuid
{
	return sprintf('%08x-%04x-4%03x-8%03x-%04x%08x', int(rand(2**32)), int(rand(2**16)), int(rand(2**12)),
		int(rand(2**12)), int(rand(2**16)), int(rand(2**32)));
}

# RFC 3339 of microseconds since 1970.
sub time_text
{
	my ($us) = @_;
	return strftime('%Y-%m-%dT%H:%M:%S', gmtime(int($us / 1e6))) . sprintf('.%06dZ', $us % 1_000_000);
}

sub pick { return $_[ int(rand(@_)) ] }

# An event of a trace as JSON. %$of: trace, service, thread, span, upstream; may be changed between two events.
sub event
{
	my ($of, $us, $kind, $fields, %more) = @_;
	my $id = random_uuid();
	my $text = sub { defined $_[0] ? "\"$_[0]\"" : 'null' };
	push @{ $of->{events} }, sprintf('{"id": "%s", "trace_id": "%s", "parent_id": %s, "timestamp": "%s", "kind": {"%s": {%s}}, '
		  . '"metadata": {"thread_id": "%s", "process_id": %d, "service_name": "%s", "instance_id": "i1", "environment": "test", '
		  . '"duration_ns": %s, "tags": {"n": %d}, "distributed_span_id": "%s", "upstream_span_id": %s}, "causality_vector": [], "lock_set": []}',
		$id, $of->{trace}, $text->($more{root} ? undef : $of->{parent}), time_text($us), $kind, $fields,
		$of->{thread}, $of->{process}, $of->{service}, $more{duration} // 'null', int(rand(5)), $of->{span}, $text->($of->{upstream}));
	$of->{parent} = $id if $more{parent};
	return $id;
}

my @services = qw(api bank mail Zürich);
my %value;

# A request that reads and writes variables, perhaps under a lock, and perhaps calls another service; from $start (microseconds) on.
sub random_trace
{
	my ($start, $lasting) = @_;
	my %of = (trace => random_uuid(), service => pick(@services), thread => 't' . int(rand(6)), process => 1 + int(rand(2)),
		span => sprintf('%016x', int(rand(2**40))), upstream => undef, parent => undef, events => []);
	my $at = $start;
	my $step = $lasting / 14;
	my $later = sub { $at += 1 + int(rand($step)); return $at };

	event(\%of, $at, 'HttpRequest', '"method": "POST", "url": "/do/' . int(rand(20)) . '", "headers": {}, "body": null', root => 1, parent => 1);
	event(\%of, $later->(), 'FunctionCall', '"function_name": "f' . int(rand(9)) . '", "module": "m", "args": {}, "file": "f.js", "line": 1', duration => int(rand($step * 1000)));
	for (1 .. 1 + int(rand(3)))
	{
		my $variable = 'shop.v' . int(rand(12));
		my $lock = rand() < 0.3 ? 'lock ' . int(rand(3)) : undef;
		my $old = $value{$variable} // 0;

		event(\%of, $later->(), 'LockAcquire', "\"lock_id\": \"$lock\", \"lock_type\": \"Mutex\", \"location\": \"l.js:1\"", duration => int(rand(1e6))) if $lock;
		event(\%of, $later->(), 'StateChange', "\"variable\": \"$variable\", \"old_value\": null, \"new_value\": $old, \"location\": \"r.js:" . int(rand(3)) . '", "access_type": "Read"');
		my $new = int(rand(1000));
		if (rand() < 0.7)
		{
			event(\%of, $later->(), 'StateChange', "\"variable\": \"$variable\", \"old_value\": $old, \"new_value\": $new, \"location\": \"w.js:" . int(rand(3)) . '", "access_type": "'
				  . (rand() < 0.1 ? 'AtomicRMW' : 'Write') . '"');
			$value{$variable} = $new;
		}
		event(\%of, $later->(), 'LockRelease', "\"lock_id\": \"$lock\", \"lock_type\": \"Mutex\", \"location\": \"l.js:2\"") if $lock;
	}
	if (rand() < 0.4)
	{
		my %callee = (%of, service => pick(@services), thread => 't9', span => sprintf('%016x', int(rand(2**40))), upstream => $of{span});
		event(\%callee, $later->(), 'HttpRequest', '"method": "GET", "url": "/part", "headers": {}, "body": null', parent => 1);
		event(\%callee, $later->(), 'DatabaseQuery', '"query": "SELECT ' . int(rand(9)) . '", "database": "d", "duration_ms": 1', duration => int(rand($step * 1000)));
		event(\%callee, $later->(), 'HttpResponse', '"status": ' . pick(200, 200, 503) . ', "headers": {}, "body": null, "duration_ms": 1');
	}
	event(\%of, $later->(), 'Error', '"error_type": "Oops", "message": "m", "stack_trace": []') if rand() < 0.1;
	event(\%of, $later->(), 'HttpResponse', '"status": ' . pick(200, 200, 200, 404, 500) . ', "headers": {}, "body": null, "duration_ms": 1', duration => ($at - $start) * 1000);
	return $of{events};
}

# random_events TRACES, TIME...: as many traces around each of these times (seconds since 1970), some of them over it;
# a reference to a list of events as JSON. Traces begin a few milliseconds after each other and overlap.
sub random_events
{
	my ($traces, @times) = @_;
	my @events;
	foreach my $time (@times)
	{
		for my $i (0 .. $traces - 1)
		{
			my $lasting = rand() < 0.03 ? 2_000_000 : 5_000 + int(rand(150_000));
			my $start = int(($time + ($i - $traces / 2) * 0.01) * 1e6) + int(rand(10_000));
			# An edge is where what is off by one is seen: some begin at it, or a clock_skew beside it, to the microsecond.
			$start = int($time) * 1_000_000 + pick(0, -1, 50_000, -50_000, 49_999, -50_001) if rand() < 0.02;
			push @events, @{ random_trace($start, $lasting) };
		}
	}
	return \@events;
}

sub shuffled
{
	my @list = @_;
	for (my $i = @list; --$i > 0;)
	{
		my $j = int(rand($i + 1));
		@list[ $i, $j ] = @list[ $j, $i ];
	}
	return @list;
}

sub json_batch { return '{"events": [' . join(', ', @_) . ']}' }

# send_batches NODE, DATABASE, SIZE, EVENT...: by ingest_events(), in batches of up to SIZE (its half to itself at random); the sums of
# what was answered, as text.
sub send_batches
{
	my ($node, $db, $size, @events) = @_;
	my $sql = "CREATE TEMP TABLE said (inserted bigint, duplicates bigint, rejected bigint);\n";
	while (@events)
	{
		my @batch = splice(@events, 0, int($size / 2) + 1 + int(rand($size / 2)));
		$sql .= 'INSERT INTO said SELECT * FROM trace_ext.ingest_events($json$' . json_batch(@batch) . '$json$::text);' . "\n";
	}
	$sql .= 'SELECT sum(inserted), sum(duplicates), sum(rejected) FROM said;';
	return $node->safe_psql($db, $sql);
}

# ----------------------------------------------------------------
#		Stores and routers
# ----------------------------------------------------------------

# make_store NODE, DATABASE: copies of the first, which is quicker than to make each.
sub make_store
{
	my ($node, $db) = @_;
	if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'empty_store'}) eq '0')
	{
		$node->safe_psql('postgres', 'CREATE DATABASE empty_store');
		$node->safe_psql('empty_store', 'CREATE EXTENSION trace_ext');
	}
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE empty_store");
	return;
}

# What a node is asked is written to its log, where the account may have that.
sub conninfo
{
	my ($node, $db, $user) = @_;
	return sprintf("host=%s port=%d dbname=%s ", $node->host, $node->port, $db) . (defined $user ? "user=$user" : "user=postgres options='-c log_statement=all'");
}

# make_router NODE, DATABASE, [NODE, DATABASE]...: a router over stores that are there.
sub make_router
{
	my ($node, $db, @stores) = @_;
	if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'empty_router'}) eq '0')
	{
		$node->safe_psql('postgres', 'CREATE DATABASE empty_router');
		$node->safe_psql('empty_router', 'CREATE EXTENSION trace_ext_router CASCADE');
	}
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE empty_router");
	$node->safe_psql($db, sprintf("SELECT trace_ext.add_node('%s', \$c\$%s\$c\$)", $_->[1], conninfo(@$_))) foreach @stores;
	return;
}

# ----------------------------------------------------------------
#		Questions
# ----------------------------------------------------------------

# Functions that are asked of nothing here, each with the reason. The test fails where one of the store's is in neither place.
our %not_asked = (
	(map { $_ => 'changes something; tested by what it changes' } qw(ingest_events ingest_otlp detect detect_all fold rebuild_summaries
		set_anomaly_status set_finding_status maintain_partitions watch unwatch)),
	(map { $_ => 'of jobs and workers, which are per database' } qw(add_job alter_job drop_job run_job workers job_alerts job_anomalies job_baselines
		job_cache_refresh job_calls job_detect job_fold job_notify job_partitions job_retention job_watch)),
	(map { $_ => 'of the cache, which is per database' } qw(cache_forget cache_invalidate cache_keep cache_refresh cache_reset cached)),
	changes_since => 'numbers of announcements are per database',
	(map { $_ => 'of its arguments alone' } qw(bar sparkline)),
	data_version => 'another text in each database',
	prometheus_metrics => 'has figures of the server');

# questions NODE, DATABASE, TIME: name => query, of each function and view that reads events; traces and variables to ask
# about are chosen from what is stored there, some that run over a time. What has an order of its own begins with "ordered".
sub questions
{
	my ($node, $db, $edge) = @_;
	my %q;
	my ($t0, $t1) = split /\|/, $node->safe_psql($db, q{SELECT min(first_timestamp) - interval '1 s', max(last_timestamp) + interval '1 s' FROM trace_ext.trace_summaries});
	my @traces = split /\n/, $node->safe_psql($db, qq{
		WITH first AS (SELECT trace_id FROM trace_ext.trace_summaries ORDER BY error_count DESC, event_count DESC, trace_id LIMIT 1)
		SELECT trace_id FROM first UNION ALL
		(SELECT trace_id FROM trace_ext.trace_summaries WHERE trace_id NOT IN (SELECT trace_id FROM first)
		  ORDER BY first_timestamp <= '$edge' AND last_timestamp >= '$edge' DESC, service_count DESC, event_count DESC, trace_id LIMIT 1)});
	my $some = join ', ', map { "'$_'" } @traces;
	my $begin = substr($traces[0], 0, 2);
	my $third = "'$t0'::timestamptz + ('$t1'::timestamptz - '$t0') / 3";

	$q{$_} = "SELECT * FROM trace_ext.$_" foreach qw(events causal_edges cross_trace_index distributed_edges distributed_spans event_counts
		kind_latencies latencies service_calls services state_changes total_latencies trace_roots trace_summaries findings);
	$q{$_} = "SELECT trace_ext.$_()" foreach qw(count_events count_traces verify_summaries);
	$q{'status'} = 'SELECT version, events, traces, rejected_events FROM trace_ext.status';
	$q{$_} = "SELECT event_id, trace_id, reason, event FROM trace_ext.$_" foreach qw(ingest_errors my_ingest_errors);

	# Lists, in their order.
	$q{"list_traces $_"} = "ordered SELECT * FROM trace_ext.list_traces($_)" foreach ('', '50', '7, 4', '100, 3', '20, 1, 15', "30, service => 'bank'", "30, service => 'Zürich', min_events => 9",
		"30, search => '$begin'", '30, errors_only => true', '30, min_duration_ms => 100', "30, name => 'POST /do/1%'", "30, variable => 'shop.v3'",
		"30, since => $third", "30, until => $third", '10000');
	$q{'list_traces by keyset'} = q{ordered WITH RECURSIVE page AS (
		SELECT 1 AS n, p.rows, p.last FROM (SELECT array_agg(l::text) AS rows, (array_agg(l ORDER BY last_timestamp, trace_id))[1] AS last FROM trace_ext.list_traces(40) l) p
		UNION ALL SELECT n + 1, p.rows, p.last FROM page, LATERAL (SELECT array_agg(l::text) AS rows, (array_agg(l ORDER BY last_timestamp, trace_id))[1] AS last
			FROM trace_ext.list_traces(40, before => (page.last).last_timestamp, before_id => (page.last).trace_id) l) p WHERE n < 5)
		SELECT n, rows FROM page};
	$q{"list_traces_total $_"} = "SELECT trace_ext.list_traces_total($_)" foreach ('', "service => 'bank'", "search => '$begin'", 'errors_only => true', "variable => 'shop.v3'", 'min_duration_ms => 100');
	$q{'one summary'} = "SELECT * FROM trace_ext.trace_summaries WHERE trace_id IN ($some)";
	$q{'events of a time'} = qq{SELECT * FROM trace_ext.events WHERE "timestamp" BETWEEN $third AND $third + interval '6 days'};
	$q{'event_counts added'} = 'SELECT service_name, kind, sum(event_count), sum(error_count) FROM trace_ext.event_counts GROUP BY 1, 2';
	$q{'accesses of a variable'} = q{SELECT * FROM trace_ext.cross_trace_index WHERE variable = 'shop.v3'};

	# One trace.
	foreach my $trace (@traces)
	{
		$q{"$_ $trace"} = "ordered SELECT * FROM trace_ext.$_('$trace')" foreach qw(trace_events causal_order trace_tree critical_path trace_anomalies service_dependencies
			trace_analysis clock_offsets find_similar_traces export_otlp export_jaeger export_chrome export_zipkin flame_svg folded trace_svg trace_dot trace_html
			grafana_trace waterfall count_races find_races);
		$q{"audit_trail $trace"} = "ordered SELECT * FROM generate_series(1, 12) n, LATERAL trace_ext.audit_trail('$trace', 'shop.v' || n)";
	}
	$q{'compare_traces'} = "ordered SELECT * FROM trace_ext.compare_traces('$traces[0]', '$traces[1]')";
	$q{"$_ of several"} = "SELECT trace_ext.$_(ARRAY[$some]::uuid[])" foreach qw(export_otlp export_jaeger export_chrome export_zipkin flame_svg folded trace_svg trace_dot);
	$q{'trace_events, by page'} = "ordered SELECT * FROM trace_ext.trace_events('$traces[0]', 3, 2)";
	$q{'a trace that is not there'} = "SELECT * FROM trace_ext.trace_events(md5('none')::uuid)";

	# Races.
	foreach my $n (0 .. 3)
	{
		$q{"find_variable_races $n"} = "ordered SELECT * FROM trace_ext.find_variable_races('shop.v$n')";
		$q{"find_variable_races $n since"} = "ordered SELECT * FROM trace_ext.find_variable_races('shop.v$n', $third, 50)";
		$q{"count_variable_races $n"} = "SELECT trace_ext.count_variable_races('shop.v$n')";
	}
	$q{'global_races'} = 'ordered SELECT * FROM trace_ext.global_races()';
	$q{'races'} = q{ordered SELECT to_jsonb(r) - 'last_seen' FROM trace_ext.races('30 days') r};
	$q{'incident of the first finding'} = q{ordered SELECT i FROM (SELECT id FROM trace_ext.findings ORDER BY id LIMIT 1) f, LATERAL trace_ext.incident(f.id) i};
	$q{'race_svg of the first finding'} = q{SELECT trace_ext.race_svg(id) FROM (SELECT id FROM trace_ext.findings ORDER BY id LIMIT 1) f};

	# The system.
	# What is of now, or a second until now.
	$q{$_} = "SELECT regexp_replace((trace_ext.$_() - 'as_of' - 'throughput')::text, '_per_second\": [0-9.]+', '', 'g')" foreach qw(analyze_global performance_metrics);
	$q{'throughput'} = q{SELECT minute FROM jsonb_array_elements(trace_ext.performance_metrics() -> 'throughput') minute WHERE minute -> 'events' <> '0'};
	$q{'system_hotspots'} = 'ordered SELECT * FROM trace_ext.system_hotspots()';
	$q{$_} = "ordered SELECT to_jsonb(x) - '{counted_from,compared_from}'::text[] FROM trace_ext.$_('30 days') x" foreach qw(operations lock_contention);
	# When a service was last seen is written down now and then only.
	# Nor for how long there is nothing of it, which goes on.
	$q{'service_health'} = q{SELECT regexp_replace((to_jsonb(h) - '{last_seen,per_second,counted_from}'::text[])::text, 'nothing for [0-9.]+ \w+', '', 'g') FROM trace_ext.service_health('30 days') h};
	# A rate is one until now: what is asked a minute later may have another last digit.
	$q{'report'} = q{SELECT regexp_replace(r, 'nothing for [0-9.]+ \w+|\s+[0-9.]+(/s|/min|/h| requests an? (second|minute|hour))\y', '', 'g') FROM trace_ext.report('30 days') r WHERE r !~ '^report of .* until | ago'};
	# The latency of a call ends at the greatest there was, or at the end of its bucket where a trace was read again.
	$q{'report_html'} = q{SELECT regexp_replace(split_part(trace_ext.report_html('30 days'), 'anomalies_open', 1), 'nothing for [0-9.]+ \w+|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?|\d+\.\d+|\d+ m?s\y', '', 'g')};
	$q{'service_dot'} = q{SELECT regexp_replace(trace_ext.service_dot('30 days'), '\d+(\.\d+)? m?s\y', '', 'g')};
	$q{'service_map'} = "ordered SELECT from_service, to_service, link_type, calls, errors FROM trace_ext.service_map('$t0', '$t1')";
	$q{'grafana_edges'} = "ordered SELECT to_jsonb(e) - '{secondarystat,detail__p50_ms,detail__p95_ms}'::text[] FROM trace_ext.grafana_edges('$t0', '$t1') e";
	$q{'grafana_nodes'} = "ordered SELECT * FROM trace_ext.grafana_nodes('$t0', '$t1')";
	$q{'request_log'} = "ordered SELECT * FROM trace_ext.request_log('$t0', page_size => 200)";
	return \%q;
}

# Functions of the store that no question names, are not of values alone, and have no reason to be left out.
sub not_covered
{
	my ($node, $db, $questions) = @_;
	my $asked = join ' ', values %$questions;
	return grep { $asked !~ /\b$_\b/ && !exists $not_asked{$_} } split /\n/, $node->safe_psql($db, q{
		SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'trace_ext'::regnamespace AND provolatile <> 'i'});
}

# The rows of an answer as text: a count and a hash, and all of it to show where it differs.
my $ask = q{
	CREATE FUNCTION pg_temp.ask(question text, OUT answer text, OUT said text) LANGUAGE plpgsql AS $f$
	BEGIN
		EXECUTE format($e$SELECT count(*) || ' rows ' || coalesce(md5(string_agg(r, E'\n' ORDER BY n, r COLLATE "C")), ''), string_agg(r, E'\n' ORDER BY n, r COLLATE "C")
			FROM (SELECT to_jsonb(q)::text AS r, %s AS n FROM (%s) q) x$e$,
			CASE WHEN question LIKE 'ordered %' THEN 'row_number() OVER ()' ELSE '0' END, regexp_replace(question, '^ordered ', '')) INTO answer, said;
	EXCEPTION WHEN OTHERS THEN
		answer := 'ERROR: ' || SQLSTATE;
		said := SQLERRM;
	END $f$;
};

# ask NODE, DATABASE, QUESTIONS, [SQL]: name => [answer in short, answer as text], all in one session that SQL begins.
sub ask
{
	my ($node, $db, $questions, $first) = @_;
	my %answers;
	my $sql = ($first // '') . "SET timezone = 'UTC'; $ask\n";
	$sql .= "SELECT 'ANSWER', \$name\$$_\$name\$, answer, encode(convert_to(coalesce(said, ''), 'UTF8'), 'hex') FROM pg_temp.ask(\$question\$$questions->{$_}\$question\$);\n"
	  foreach sort keys %$questions;
	foreach (split /\n/, $node->safe_psql($db, $sql))
	{
		next unless /^ANSWER/;
		my (undef, $name, $answer, $hex) = split /\|/, $_, -1;
		$answers{$name} = [ $answer, pack('H*', $hex) ];
	}
	return \%answers;
}

# same_answers_ok IS, SHOULD_BE, WHAT, [NAME => REASON]...: one assertion; where answers differ it shows the first difference of each.
sub same_answers_ok
{
	my ($is, $should_be, $what, %other) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @wrong;
	foreach my $name (sort keys %$should_be)
	{
		next if exists $other{$name};
		my ($a, $b) = ($is->{$name} // [ 'none', '' ], $should_be->{$name});
		next if $a->[0] eq $b->[0];
		my @a = split /\n/, $a->[1];
		my @b = split /\n/, $b->[1];
		my $n = 0;
		$n++ while $n < @a && $n < @b && $a[$n] eq $b[$n];
		my ($is_row, $row) = ($a[$n] // '(none)', $b[$n] // '(none)');
		# A long one from a little before the first letter that differs.
		my $same = length(($is_row ^ $row) =~ /^(\0*)/ ? $1 : '');
		my $from = $same < 200 || length($row) < 400 ? 0 : $same - 100;
		push @wrong, sprintf("%s: %s, should be %s\n  row %d is %.600s\n  should be %.600s", $name, $a->[0], $b->[0], $n, substr($is_row, $from), substr($row, $from));
	}
	is(join("\n", @wrong), '', sprintf('%s: %d answers are the same', $what, scalar keys %$should_be));
	return !@wrong;
}

1;
