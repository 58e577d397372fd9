# 040_router_down.pl
#		Nodes of a router that are down, slow, restarted, refuse at COMMIT or have another version,
#		and who may do what.
#
# Each node is a cluster of its own, so that it can be stopped.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtTest;
use RouterTest;

seed_random();
my %settings = (shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off', fsync => 'off');
my $router = new_node('router', %settings);
my @nodes = map { new_node($_, %settings) } qw(n1 n2);
my ($n1, $n2) = @nodes;
make_router($router, 'r', [ $n1, 'postgres' ]);
$router->safe_psql('r', sprintf(q{SELECT trace_ext.add_node('second', $c$%s$c$)}, conninfo($n2, 'postgres')));

my @events = @{ random_events(60, time - 3600) };
my $all = @events;
my @first = splice(@events, 0, int($all / 2));
my $traces;
is(send_batches($router, 'r', 500, @first), scalar(@first) . '|0|0', 'events are stored');

sub count { return $router->safe_psql('r', 'SELECT trace_ext.count_events()') }
sub stored { return $_[0]->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.events') }
sub exact { my ($what) = @_; is(join('', map { $_->safe_psql('postgres', 'SELECT * FROM trace_ext.verify_summaries()') } @nodes), '', "$what: sums are exact on each node") }

is(stored($n1) + stored($n2), count(), 'they are on the nodes');
cmp_ok(stored($_), '>', 0, 'each has some of them') foreach @nodes;

#
# A node refuses at COMMIT
#

$n2->safe_psql('postgres', q{
	CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'refused at commit'; END$$;
	CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON trace_ext.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.refuse();});
my $send = 'SELECT inserted, duplicates FROM trace_ext.ingest_events($json$' . json_batch(@events) . '$json$::text)';
my (undef, $out, $err) = try_psql($router, $send, db => 'r');
like($err, qr/refused at commit/, 'what a node says at COMMIT reaches the sender');
my $half = count();
is($half, stored($n1) + stored($n2), 'the count is of what is stored, half a batch or none');
exact('after a COMMIT that failed');
$n2->safe_psql('postgres', 'DROP TRIGGER refuse ON trace_ext.events');
my ($inserted, $duplicates) = split /\|/, $router->safe_psql('r', $send);
is($inserted + $duplicates, scalar @events, 'the batch is sent again');
is($inserted, $all - $half, 'what was missing is inserted');
is(count(), $all, 'and makes it whole');
exact('sent again');

# Killed between the two: the backend that holds the transaction on a node.
my $session = $router->background_psql('r', on_error_stop => 0);
$session->query_safe('BEGIN');
$session->query_safe(q{DELETE FROM trace_ext.events WHERE service_name = 'bank'});
$n1->safe_psql('postgres', q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'idle in transaction'});
$session->query('COMMIT');
$session->quit;
is(count(), stored($n1) + stored($n2), 'a connection that is lost within a transaction: the count is of what is stored');
cmp_ok(stored($n1), '>', 0, 'the node has not deleted anything');
is(send_batches($router, 'r', 500, @first, @events) =~ /^\d+\|\d+\|0$/, 1, 'all is sent again');
is(count(), $all, 'and it is whole');
exact('a connection that was lost');

#
# A node that is stopped
#

my $answers = $router->safe_psql('r', q{SELECT count(*), md5(string_agg(l::text, '' ORDER BY last_timestamp, trace_id)) FROM trace_ext.list_traces(1000) l});
# These sessions have connections to it.
my $other = $router->background_psql('r', on_error_stop => 0);
$other->query_safe('SELECT trace_ext.count_events()');
my ($here) = $router->safe_psql('r', q{SELECT trace_id FROM trace_ext.trace_summaries WHERE trace_ext.node_of(trace_id, first_timestamp) = 'postgres' ORDER BY 1 LIMIT 1});
my ($there) = $router->safe_psql('r', q{SELECT trace_id FROM trace_ext.trace_summaries WHERE trace_ext.node_of(trace_id, first_timestamp) = 'second' ORDER BY 1 LIMIT 1});
my $writer = $router->background_psql('r', on_error_stop => 0);
$writer->query_safe("SET trace_ext.node_down = partial; BEGIN; DELETE FROM trace_ext.events WHERE trace_id = '$there'");
$n2->stop('fast');
foreach my $question ('count_events()', 'count_traces()', 'list_traces()', "find_variable_races('shop.v1')", "trace_events('$there')", "find_races('$there')", 'detect()')
{
	(undef, $out, $err) = try_psql($router, "SELECT * FROM trace_ext.$question", db => 'r');
	like($err, qr/second/, "$question: the error names the node that is down");
	is($out, '', 'and there is no answer');
}
(undef, $out, $err) = try_psql($router, "SELECT inserted FROM trace_ext.ingest_events(\$json\$" . json_batch(@first) . '$json$::text)', db => 'r');
like($err, qr/second/, 'a batch that has events of its is refused, by name');
is($router->safe_psql('r', q{SELECT name, state, last_error IS NOT NULL FROM trace_ext.nodes ORDER BY name}), "postgres|active|f\nsecond|down|t", 'nodes: it is down');
unlike($router->safe_psql('r', 'SELECT n::text FROM trace_ext.nodes n'), qr/host=|user=/, 'without where it is');

# Asked for a part: every question has an answer, with a warning that names the node. Where nothing but events
# decides, it is that of a router which never had the node's.
my $partial = 'SET trace_ext.node_down = partial;';
make_store($router, 'half');
$n1->safe_psql('postgres', sprintf(q{COPY (SELECT * FROM trace_ext.events) TO '%s/half'}, $n1->basedir));
$router->safe_psql('half', sprintf(q{COPY trace_ext.events FROM '%s/half'}, $n1->basedir));
my $questions = questions($router, 'half', $router->safe_psql('half', 'SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY first_timestamp) FROM trace_ext.trace_summaries'));
# What findings say is written down: the router has none yet, and shows those that there are.
my $is = ask($router, 'r', $questions, $partial);
same_answers_ok($is, ask($router, 'half', $questions), 'partial, one of two nodes',
	status => 'rejected events are of a database', map { $_ => 'says how long ago' } qw(report service_health));
foreach my $question (map { "SELECT * FROM trace_ext.$_" } 'count_events()', 'list_traces()', "find_variable_races('shop.v1')", "find_races('$here')", "trace_events('$there')", 'events', 'cross_trace_index',
	'event_counts', "trace_tree('$here')", "waterfall('$here')", 'service_calls', 'operations()', 'system_hotspots()')
{
	(my $status, $out, $err) = try_psql($router, "$partial SELECT count(*) FROM ($question) q", db => 'r');
	is($status, 0, "$question, partial: there is an answer");
	is(() = $err =~ /WARNING:  node "second" is down/g, 1, 'with one warning that names the node');
}
is($router->safe_psql('r', "$partial SELECT * FROM trace_ext.trace_events('$there')"), '', 'of a trace that is there nothing is shown');
# Also to who may not ask nodes himself, in a function, by a plan that is kept, and in a transaction.
$router->safe_psql('r', q{CREATE ROLE reads LOGIN IN ROLE trace_ext_reader;
	CREATE FUNCTION public.counted() RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RETURN (SELECT count(*) FROM trace_ext.events); END$$;});
my $stay = $router->background_psql('r', on_error_stop => 0, extra_params => [ '-U', 'reads' ]);
$stay->query_safe($partial);
$stay->query_safe('PREPARE counted AS SELECT count(*) FROM trace_ext.events');
$stay->query_safe('SET plan_cache_mode = force_generic_plan');
foreach my $ask ('SELECT public.counted()', 'EXECUTE counted', 'SELECT trace_ext.count_events()')
{
	$out = $stay->query($ask);
	is($out, stored($n1), "$ask, as a reader");
	like($stay->{stderr}, qr/WARNING:  node "second" is down/, 'with a warning');
	$stay->{stderr} = '';
}
# A transaction that has written on a node that is lost then does not go on without it.
$writer->query('SELECT trace_ext.count_events()');
like($writer->{stderr}, qr/ERROR/, 'a transaction that has written on the node: fails');
unlike($writer->{stderr}, qr/WARNING:  node/, 'and is not given a part');
$writer->{stderr} = '';
$writer->query('COMMIT');
$writer->quit;
# What writes does not do so with a part.
$router->safe_psql('r', 'CREATE TABLE public.copied (n bigint)');
foreach my $write ('DELETE FROM trace_ext.events', 'UPDATE trace_ext.events SET name = NULL', 'INSERT INTO public.copied SELECT count(*) FROM trace_ext.events',
	'WITH gone AS (DELETE FROM trace_ext.events RETURNING 1) SELECT count(*) FROM gone', "SELECT trace_ext.ingest_events(\$json\$" . json_batch(@first) . '$json$::text)',
	'SELECT trace_ext.detect()', 'CALL trace_ext.detect_all()', 'CALL trace_ext.job_detect()',
	(map { "INSERT INTO trace_ext.detect_queue (trace_id, queued_at) SELECT gen_random_uuid(), now(); $_" } 'CALL trace_ext.job_detect()', q{SELECT * FROM trace_ext_internal.detect_step('infinity')}), 'SELECT trace_ext.fold()',
	q{INSERT INTO trace_ext.alert_rules (name, metric, threshold) VALUES ('many', 'per_second', 1000000); CALL trace_ext.job_alerts()},
	'SELECT trace_ext.rebuild_summaries()', q{SELECT trace_ext.drain_node('postgres')})
{
	(my $status, $out, $err) = try_psql($router, "$partial $write", db => 'r');
	like($err, qr/ERROR.*second/s, "$write, partial: fails, and names the node");
}
is(stored($n1), $router->safe_psql('half', 'SELECT count(*) FROM trace_ext.events'), 'and nothing is written');
$router->safe_psql('r', 'DELETE FROM trace_ext.alert_rules; DELETE FROM trace_ext.detect_queue');
is($router->safe_psql('r', "$partial SELECT trace_ext.count_events()"), stored($n1), 'of the nodes that are up');
# What is missing something is kept for nobody.
my $cached = q{SELECT n FROM trace_ext.cached('SELECT trace_ext.count_events()', '1 hour') AS t (n bigint)};
is($router->safe_psql('r', "$partial $cached"), stored($n1), 'through the cache, too');
(undef, $out, $err) = try_psql($router, $cached, db => 'r');
like($err, qr/second/, 'but it is no answer for who did not ask for it');
(undef, $out, $err) = try_psql($router, "$partial SELECT trace_ext.detect()", db => 'r');
like($err, qr/ERROR.*second/s, 'partial answers are nothing for detect()');
is($router->safe_psql('r', 'SELECT count(*) FROM trace_ext.findings'), '0', 'which finds nothing then');

# Started again, old sessions go on too.
$n2->start;
foreach my $ask ('SELECT public.counted()', 'EXECUTE counted', 'SELECT trace_ext.count_events()')
{
	is($stay->query($ask), $all, "$ask: all is there again for who asked for a part");
}
unlike($stay->{stderr}, qr/WARNING/, 'without a warning');
$stay->query_safe('RESET trace_ext.node_down');
$stay->quit;
is($router->safe_psql('r', q{SELECT count(*), md5(string_agg(l::text, '' ORDER BY last_timestamp, trace_id)) FROM trace_ext.list_traces(1000) l}), $answers, 'started again: answers as before');
is($router->safe_psql('r', $cached), $all, 'and nothing of the partial answer was kept');
$router->safe_psql('r', q{SELECT trace_ext.cache_reset()});
(undef, $out, $err) = try_psql($router, q{SELECT n FROM trace_ext.cached('SELECT trace_ext.count_events()') AS t (n bigint)}, db => 'r');
like($err, qr/without a ttl/, 'without an age nothing is kept of what nodes have, and it is said');
my $said = $other->query('SELECT trace_ext.count_events()');
$said = $other->query('SELECT trace_ext.count_events()') if $said ne $all;
is($said, $all, 'in a session that was connected before it stopped, too');
$other->quit;

#
# A node that is slow
#

my $slow = $n2->background_psql('postgres', on_error_stop => 0);
$slow->query_safe('BEGIN; LOCK TABLE trace_ext.events IN ACCESS EXCLUSIVE MODE;');
my $began = time;
(undef, $out, $err) = try_psql($router, q{SET statement_timeout = '1s'; SELECT * FROM trace_ext.events;}, db => 'r');
like($err, qr/canceling statement due to statement timeout/, 'a node that does not answer: the statement is cancelled when its time is over');
cmp_ok(time - $began, '<', 25, 'soon');
$slow->query_safe('ROLLBACK');
$slow->quit;
is(count(), $all, 'then all is as before');

#
# A dump of the router has no event, and all else
#

$router->command_ok([ 'pg_dump', '-f', $router->basedir . '/dump', '-d', $router->connstr('r') ], 'a router is dumped');
unlike(slurp_file($router->basedir . '/dump'), qr/POST \/do/, 'without events');
$router->safe_psql('postgres', 'CREATE DATABASE restored');
$router->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $router->basedir . '/dump', '-d', $router->connstr('restored') ], 'and restored');
is($router->safe_psql('restored', q{SELECT count(*), md5(string_agg(l::text, '' ORDER BY last_timestamp, trace_id)) FROM trace_ext.list_traces(1000) l}), $answers, 'it answers as before');

#
# Versions
#

$n2->safe_psql('postgres', q{UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'trace_ext'});
like($router->safe_psql('r', q{SELECT last_error FROM trace_ext.nodes WHERE name = 'second'}), qr/0\.9/, 'nodes: it has another version');
$router->safe_psql('postgres', 'CREATE DATABASE other TEMPLATE empty_router');
(undef, $out, $err) = try_psql($router, sprintf(q{SELECT trace_ext.add_node('second', $c$%s$c$)}, conninfo($n2, 'postgres')), db => 'other');
like($err, qr/0\.9/, 'a node of another version is not added');
is($router->safe_psql('other', 'SELECT count(*) FROM trace_ext.nodes'), '0', 'nothing of it stays');
$n2->safe_psql('postgres', q{UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'trace_ext') WHERE extname = 'trace_ext'});
(undef, $out, $err) = try_psql($router, sprintf(q{SELECT trace_ext.add_node('twice', $c$%s$c$)}, conninfo($n2, 'postgres')), db => 'r');
like($err, qr/already/, 'nor the same store twice');
$router->safe_psql('postgres', 'CREATE DATABASE third TEMPLATE empty_router');
$router->safe_psql('third', sprintf(q{SELECT trace_ext.add_node('with_events', $c$%s$c$)}, conninfo($n1, 'postgres')));
is($router->safe_psql('third', 'SELECT trace_ext.count_events(), (SELECT count(*) FROM trace_ext.events)'), join('|', (stored($n1)) x 2), 'the first node may have events');
(undef, $out, $err) = try_psql($router, sprintf(q{SELECT trace_ext.add_node('two', $c$%s$c$)}, conninfo($n2, 'postgres')), db => 'third');
like($err, qr/has .*events/, 'the next may not: no epoch would have them');
(undef, $out, $err) = try_psql($router, sprintf(q{SELECT trace_ext.add_node('none', $c$%s$c$)}, conninfo($n2, 'template1')), db => 'r');
like($err, qr/no store/, 'nor a database without a store');
(undef, $out, $err) = try_psql($router, q{SELECT trace_ext.add_node('none', $c$host=/nowhere dbname=x password=secret$c$)}, db => 'r');
unlike($err, qr/secret/, 'an error has no password');
(undef, $out, $err) = try_psql($router, q{SELECT trace_ext.remove_node('second')}, db => 'r');
isnt($err, '', 'a node that has events is not removed');

#
# Who may do what
#

# The account of the nodes is no superuser, and neither is who adds them; he needs a password then.
foreach my $node (@nodes)
{
	$node->safe_psql('postgres', q{CREATE ROLE router LOGIN PASSWORD 'sesame' IN ROLE trace_ext_reader, trace_ext_writer, trace_ext_admin});
	my $hba = slurp_file($node->data_dir . '/pg_hba.conf');
	open my $file, '>', $node->data_dir . '/pg_hba.conf' or die $!;
	print $file "local all router scram-sha-256\n$hba";
	close $file;
	$node->reload;
}
$router->safe_psql('other', q{
	CREATE ROLE boss LOGIN IN ROLE trace_ext_admin; CREATE ROLE sender LOGIN IN ROLE trace_ext_writer; CREATE ROLE looker LOGIN IN ROLE trace_ext_reader; CREATE ROLE nobody_here LOGIN;});
sub as_role { my ($role, $sql) = @_; my ($o, $e); $router->psql('other', $sql, stdout => \$o, stderr => \$e, on_error_stop => 1, extra_params => [ '-U', $role ]); return ($o, $e) }

make_store($_, 'fresh') foreach @nodes;
my @with = map { conninfo($nodes[$_], 'fresh', 'router') } 0, 1;
(undef, $err) = as_role('boss', qq{SELECT trace_ext.add_node('one', \$c\$$with[0]\$c\$)});
like($err, qr/password/, 'who is no superuser adds no node without a password');
foreach my $role (qw(sender looker nobody_here))
{
	(undef, $err) = as_role($role, qq{SELECT trace_ext.add_node('one', \$c\$$with[0] password=sesame\$c\$)});
	like($err, qr/permission denied/, "$role adds none");
}
foreach (0, 1)
{
	(undef, $err) = as_role('boss', sprintf(q{SELECT trace_ext.add_node('%s', $c$%s password=sesame$c$)}, qw(one two)[$_], $with[$_]));
	is($err, '', 'an admin adds one with its password');
}
is((as_role('sender', 'SELECT inserted, duplicates FROM trace_ext.ingest_events($json$' . json_batch(@first) . '$json$::text)'))[0], @first . '|0', 'a writer sends');
is((as_role('looker', 'SELECT trace_ext.count_events()'))[0], scalar @first, 'a reader counts');
is((as_role('looker', 'SELECT count(*) FROM trace_ext.events'))[0], scalar @first, 'and reads');
like((as_role('looker', 'DELETE FROM trace_ext.events'))[1], qr/permission denied/, 'but does not delete');
like((as_role('looker', q{SELECT trace_ext.ingest_events('[]'::text)}))[1], qr/permission denied/, 'nor send');
like((as_role('sender', 'SELECT * FROM trace_ext.events'))[1], qr/permission denied/, 'but does not read');
like((as_role('sender', 'SELECT trace_ext.count_events()'))[1], qr/permission denied/, 'nor count');
foreach my $role (qw(sender looker nobody_here boss))
{
	my ($tables) = $router->safe_psql('other', q{SELECT string_agg(oid::regclass::text, ' ') FROM pg_class WHERE relnamespace = 'trace_ext_internal'::regnamespace AND relname LIKE 'calls\_%'});
	foreach my $table (split / /, $tables)
	{
		($out, $err) = as_role($role, "SELECT answer FROM $table WHERE trace_ext_internal.asked(call, 'SELECT current_user::text')");
		like($err, qr/permission denied/, "$role does not run SQL of his own on a node by $table");
	}
	($out, $err) = as_role($role, q{SELECT * FROM trace_ext_internal.ask_nodes('SELECT current_user::text')});
	like($err, qr/permission denied/, 'nor by a function');
}
# How nodes are reached is told to admins, and to nobody else by whatever there is to read.
$router->safe_psql('other', 'CREATE ROLE plain_user LOGIN');
foreach my $role (qw(sender looker nobody_here plain_user))
{
	($out, $err) = as_role($role, 'SELECT * FROM trace_ext.node_connections()');
	like($err, qr/permission denied/, "$role is not told how nodes are reached");
	($out, $err) = as_role($role, q{SELECT count(*) > 1, string_agg(u::text, ' ') FROM pg_user_mappings u; SELECT string_agg(f::text, ' ') FROM pg_foreign_server f;
		SELECT count(*) FROM information_schema.user_mappings; SELECT string_agg(o::text, ' ') FROM information_schema.user_mapping_options o});
	like($out, qr/^t\|/, "$role sees that there are nodes");
	unlike($out, qr/sesame|user=router|=router/, 'but neither password nor account');
	($out, $err) = as_role($role, 'SELECT umoptions FROM pg_user_mapping');
	like($err, qr/permission denied/, 'nor the catalog itself');
	($out, $err) = as_role($role, q{SELECT * FROM dblink('trace_ext_one', 'SELECT current_user::text') AS d (u text)});
	like($err, qr/permission denied/, 'nor does a connection by dblink take him there');
	my @relations = split /\n/, $router->safe_psql('other', q{SELECT oid::regclass FROM pg_class WHERE relnamespace IN ('trace_ext'::regnamespace, 'trace_ext_internal'::regnamespace) AND relkind IN ('r', 'v', 'p', 'm')});
	my $seen = 0;
	foreach my $relation (@relations)
	{
		my ($rows, $error) = as_role($role, "SELECT string_agg(x::text, ' ') FROM $relation x");
		next if $error =~ /permission denied/;
		$seen++;
		fail("$role finds the password in $relation") if $rows =~ /sesame/ || $error =~ /sesame/;
	}
	cmp_ok($seen, '>=', $role eq 'looker' ? 20 : 0, "$role: $seen relations have no password");
}
($out, $err) = as_role('boss', q{SELECT name || ': ' || connection_string FROM trace_ext.node_connections()});
is($out, join("\n", map { sprintf(q{%s: connect_timeout='10' options='-c lock_timeout=30s' host='%s' port='%d' dbname='fresh' user='router' password='sesame'}, qw(one two)[$_], $nodes[$_]->host, $nodes[$_]->port) } 0, 1),
	'an admin is told how nodes are reached') or note($err);
# What is told is what add_node() takes, quotes and all.
$router->safe_psql('other', q{ALTER USER MAPPING FOR PUBLIC SERVER trace_ext_one OPTIONS (SET password $p$it's a \ of 'quotes'$p$)});
is($router->safe_psql('other', q{SELECT o.value FROM trace_ext.node_connections() c, trace_ext_internal.connection_options(c.connection_string) o WHERE c.name = 'one' AND o.name = 'password'}),
	q{it's a \ of 'quotes'}, 'it can be read back');
$router->safe_psql('other', q{ALTER USER MAPPING FOR PUBLIC SERVER trace_ext_one OPTIONS (SET password 'sesame')});
# What a node offers the router gives nobody there more than he has.
foreach my $role (qw(trace_ext_reader trace_ext_writer))
{
	(undef, $out, $err) = try_psql($n1, "SET ROLE $role; SELECT answer FROM trace_ext_internal.node_calls WHERE trace_ext_internal.asked(call, 'SELECT current_user::text')");
	ok($err =~ /permission denied/ || $out eq $role, "$role on a node acts as himself or not at all");
}

done_testing();
