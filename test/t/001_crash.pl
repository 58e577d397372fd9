# 001_crash.pl
#		Nothing acknowledged is lost and nothing is counted twice, however the
#		server dies.
#
# Eight writers load events into traces they share, in every way there is,
# while backends and later the postmaster are killed with SIGKILL.  Each writer
# keeps a journal on the client's side: a transaction before it is sent, and its
# outcome when the server has told it.  Of a transaction whose outcome was lost
# with the connection, all must be there or nothing.  A batch for
# ingest_events() is then delivered again, as clients do.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use IO::Handle;
use IPC::Open3;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use TraceExtTest;

my $WRITERS = 8;
my $TRACES = 40;
my $BACKEND_KILLS = 6;
my $POSTMASTER_KILLS = 2;

my $seed = seed_random();
my $node = new_node(
	'crash',
	restart_after_crash => 'on',
	max_connections => 40,
	autovacuum_naptime => '1s');
my $dir = PostgreSQL::Test::Utils::tempdir();
my $stop = "$dir/stop";

# Rows go to partitions and to the default one, and move between them.
$node->safe_psql('postgres', q{
	CREATE TABLE trace_ext.events_mine PARTITION OF trace_ext.events
		FOR VALUES FROM ('2026-01-02 00:00+00') TO ('2026-01-02 12:34:56+00');
	CREATE TABLE trace_ext.events_next PARTITION OF trace_ext.events
		FOR VALUES FROM ('2026-01-02 12:34:56+00') TO ('2026-01-04 00:00+00');});

#
# A writer: a process with a psql
#

sub random_time
{
	return sprintf('2026-01-%02d %02d:%02d:%02d.%06d+00',
		1 + int(rand(5)), int(rand(24)), int(rand(60)), int(rand(60)), int(rand(1000000)));
}

sub random_trace
{
	return uuid(1, int(rand($TRACES)));
}

# One transaction in the making: its SQL, and the state of each event that it
# changes, "trace|timestamp|name" or '-' for one that is gone.
package Transaction
{
	sub new
	{
		my ($class, $writer) = @_;
		return bless { writer => $writer, sql => '', after => {}, only_ingest => 1 }, $class;
	}

	sub current
	{
		my ($self) = @_;
		return { %{ $self->{writer}{known} }, %{ $self->{after} } };
	}

	# Some events of this writer that are there at this point.
	sub some
	{
		my ($self, $n) = @_;
		my $current = $self->current;
		my @ids = grep { $current->{$_} ne '-' } sort keys %$current;
		my %chosen = map { $ids[ int(rand(@ids)) ] => 1 } 1 .. (@ids ? $n : 0);
		return map { [ $_, split(/\|/, $current->{$_}) ] } sort keys %chosen;
	}

	sub fresh_rows
	{
		my ($self, $n) = @_;
		my $writer = $self->{writer};
		my @rows;
		for (1 .. $n)
		{
			my $row = TraceExtTest::event_row(main::random_trace(),
				TraceExtTest::uuid(2, ++$writer->{ids}, $writer->{number}), main::random_time());
			$self->{after}{ $row->[1] } = "$row->[0]|$row->[3]|$row->[5]";
			push @rows, $row;
		}
		return \@rows;
	}

	sub add
	{
		my ($self, $sql) = @_;
		$self->{sql} .= "$sql\n";
		$self->{only_ingest} = 0;
	}

	sub insert
	{
		my ($self) = @_;
		$self->add(TraceExtTest::insert_sql($self->fresh_rows(1 + int(rand(20)))));
	}

	sub copy
	{
		my ($self) = @_;
		$self->add(TraceExtTest::copy_sql($self->fresh_rows(1 + int(rand(50)))));
	}

	sub ingest
	{
		my ($self) = @_;
		my $sql = TraceExtTest::ingest_sql($self->fresh_rows(1 + int(rand(30))));
		$sql =~ s/\[/[{"id": "no uuid"}, / if rand() < 0.2;
		$self->{sql} .= "$sql\n";
	}

	sub delete
	{
		my ($self) = @_;
		for my $event ($self->some(3))
		{
			my ($id, $trace) = @$event;
			$self->add("DELETE FROM trace_ext.events WHERE trace_id = '$trace' AND id = '$id';");
			$self->{after}{$id} = '-';
		}
	}

	# To another trace, another time (and so partition), or under another name.
	sub update
	{
		my ($self) = @_;
		for my $event ($self->some(3))
		{
			my ($id, $trace, $time, $name) = @$event;
			my $where = "WHERE trace_id = '$trace' AND id = '$id'";
			my $what = int(rand(3));
			$trace = main::random_trace() if $what == 0;
			$time = main::random_time() if $what == 1;
			$name = 'renamed ' . int(rand(1000)) if $what == 2;
			$self->add("UPDATE trace_ext.events SET trace_id = '$trace', \"timestamp\" = '$time', name = '$name' $where;");
			$self->{after}{$id} = "$trace|$time|$name";
		}
	}

	sub change
	{
		my ($self) = @_;
		my $way = (qw(insert insert copy ingest ingest delete update))[ int(rand(7)) ];
		$self->$way;
	}

	sub savepoint
	{
		my ($self) = @_;
		my %before = %{ $self->{after} };
		$self->add('SAVEPOINT s;');
		$self->change for 1 .. 1 + int(rand(2));
		if (rand() < 0.5)
		{
			$self->add('RELEASE s;');
			return;
		}
		$self->add('ROLLBACK TO s;');
		$self->{after} = \%before;
	}
}

sub random_transaction
{
	my ($writer) = @_;
	my $t = Transaction->new($writer);

	if (rand() < 0.3)
	{
		my $way = (qw(insert copy ingest ingest))[ int(rand(4)) ];
		$t->$way;
		$t->{single} = 1;
		return $t;
	}
	for (1 .. 1 + int(rand(4)))
	{
		my $way = rand() < 0.2 ? 'savepoint' : 'change';
		$t->$way;
	}
	$t->add('SELECT trace_ext.fold();') if rand() < 0.03;
	$t->{after} = {} if $t->{rolled_back} = rand() < 0.15;
	$t->{sql} = "BEGIN;\n$t->{sql}" . ($t->{rolled_back} ? "ROLLBACK;\n" : "COMMIT;\n");
	return $t;
}

sub journal
{
	my ($writer, $word, $states) = @_;
	$writer->{journal}->print(join("\t", $word, map { "$_=$states->{$_}" } sort keys %$states), "\n");
}

sub connect_writer
{
	my ($writer) = @_;
	until (-e $stop)
	{
		my ($in, $out);
		open(my $err, '>>', "$dir/errors.$writer->{number}") or die $!;
		$writer->{pid} = open3($in, $out, '>&' . fileno($err), 'psql', '-XAt', '-d',
			$node->connstr('postgres') . " application_name=writer");
		$writer->{in} = $in;
		$writer->{out} = $out;
		return 1 if defined converse($writer, 'SET trace_ext.fold_threshold = ' . (20, 200, 2000)[ int(rand(3)) ] . ';');
		sleep(0.1);
	}
	return 0;
}

# What psql prints for some SQL, with "error" or "fine" at its end; undef if the
# connection was lost.
sub converse
{
	my ($writer, $sql) = @_;
	my $answer = '';
	local $SIG{PIPE} = 'IGNORE';

	$writer->{in}->print("$sql\n\\echo answered :ERROR\n") and $writer->{in}->flush;
	while (defined(my $line = $writer->{out}->getline))
	{
		return $answer . ($1 eq 'true' ? 'error' : 'fine') if $line =~ /^answered (\w+)/;
		$answer .= $line;
	}
	close($writer->{in});
	close($writer->{out});
	waitpid($writer->{pid}, 0);
	return undef;
}

# Sends a transaction, and what lost its answer again if that is harmless.
# Returns "committed", "rolled back" or "unknown".
sub deliver
{
	my ($writer, $t) = @_;
	for (;;)
	{
		my $answer = converse($writer, $t->{sql});
		if (defined $answer)
		{
			# psql 15 does not call a failed COPY an error.
			return $answer =~ /^(COPY|INSERT 0) \d+$|^\d+\|\d+\|\d+$/m ? 'committed' : 'rolled back' if $t->{single};
			return $answer =~ /^COMMIT$/m ? 'committed' : 'rolled back';
		}
		return 'unknown' unless connect_writer($writer) && $t->{single} && $t->{only_ingest};
	}
}

sub run_writer
{
	my ($number) = @_;
	my $writer = { number => $number, ids => 0, known => {} };

	srand($seed + $number + 1);
	open($writer->{journal}, '>', "$dir/journal.$number") or die $!;
	$writer->{journal}->autoflush(1);
	return unless connect_writer($writer);
	until (-e $stop)
	{
		my $t = random_transaction($writer);
		my $began = time();
		my $outcome;

		journal($writer, 'sent', $t->{after});
		$outcome = deliver($writer, $t);
		journal($writer, $outcome, $outcome eq 'rolled back' ? {} : $t->{after});
		if ($outcome eq 'committed')
		{
			@{ $writer->{known} }{ keys %{ $t->{after} } } = values %{ $t->{after} };
			journal($writer, 'odd rollback', {}) if $t->{rolled_back} && %{ $t->{after} };
		}
		elsif ($outcome eq 'unknown')
		{
			delete @{ $writer->{known} }{ keys %{ $t->{after} } };
		}
		# Slowly, that there is not more to look at than to kill; and with pauses that are as long
		# as what it holds locks for, so that on a busy machine, too, there are moments without any.
		my $took = time() - $began;
		sleep(rand(0.15) + ($took < 2 ? 2 * $took : 4));
		# Else the list of events gets long, and its handling slow.
		delete @{ $writer->{known} }{ grep { rand() < 0.5 } keys %{ $writer->{known} } }
		  if keys %{ $writer->{known} } > 500;
	}
}

#
# Killing
#

sub wait_until_up
{
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	while (time() < $deadline)
	{
		# A psql that is refused may end before it has read its query: then this dies.
		my $status = eval { $node->psql('postgres', 'SELECT 1', stderr => \my $ignored) };
		return 1 if defined $status && $status == 0;
		sleep(0.1);
	}
	return 0;
}

# Whoever holds a lock while others have the processor holds it for long, and it says to come again after a minute of that.
sub maintained_ok
{
	my ($status, $out, $err);
	for (1 .. 10)
	{
		($status, $out, $err) = try_psql($node, 'CALL trace_ext.maintain_partitions()');
		last if $err !~ /could not lock trace_ext.events to make a partition/;
	}
	is($status, 0, 'rows moved to partitions beside the writers') or diag($err);
}

sub kill_a_backend
{
	my $pid = $node->safe_psql('postgres', q{
		SELECT pid FROM pg_stat_activity
		 WHERE application_name = 'writer' OR backend_type LIKE 'trace_ext%'
		 ORDER BY backend_type LIKE 'trace_ext%' DESC, state = 'active' DESC, random() LIMIT 1});
	if ($pid eq '')
	{
		sleep(0.5);
		return;
	}
	kill_9($pid);
	wait_until_up() or die 'the server did not come back';
	return 1;
}

my @writers = map { my $n = $_; psql_child(sub { run_writer($n) }) } 1 .. $WRITERS;
sleep(2);
for my $round (1 .. $BACKEND_KILLS)
{
	my $killed = 0;
	for (1 .. 20)
	{
		last if $killed = kill_a_backend();
	}
	ok($killed, "killed a backend, round $round");
	exact_ok($node, "exact while writers go on, round $round");
	maintained_ok() if $round == 3;
	sleep(1 + rand());
}
for my $round (1 .. $POSTMASTER_KILLS)
{
	crash($node);
	exact_ok($node, "exact after the postmaster was killed, round $round");
	sleep(2 + rand());
}
append_to_file($stop, '');
my $fallen = grep { waitpid($_, 0); $? != 0 } @writers;
is($fallen, 0, 'every writer went on to the end');
# And once more when nobody writes, so that the last commits are the last WAL.
crash($node);

#
# Looking
#

my %expected;
my %count = ('sent' => 0, 'committed' => 0, 'rolled back' => 0, 'unknown' => 0, 'odd rollback' => 0);
my @unknown;

sub states
{
	return { map { split(/=/, $_, 2) } @_ };
}

# Later transactions of a writer never touch what an unknown one did.
for my $number (1 .. $WRITERS)
{
	for my $line (split(/\n/, slurp_file("$dir/journal.$number")))
	{
		my ($word, @states) = split(/\t/, $line);
		my $states = states(@states);
		$count{$word}++;
		if ($word eq 'committed')
		{
			@expected{ keys %$states } = values %$states;
		}
		elsif ($word eq 'unknown')
		{
			push @unknown, { before => { map { $_ => $expected{$_} // '-' } keys %$states }, after => $states };
		}
	}
}
diag("transactions: " . join(', ', map { "$count{$_} $_" } sort keys %count));

my %found;
my $doubles = 0;
for (split(/\n/, $node->safe_psql('postgres', q{
	SET timezone = 'UTC';
	SELECT id, trace_id, to_char("timestamp", 'YYYY-MM-DD HH24:MI:SS.US+00'), name FROM trace_ext.events})))
{
	next if $_ eq 'SET';
	my ($id, $state) = split(/\|/, $_, 2);
	$doubles++ if exists $found{$id};
	$found{$id} = $state;
}

my $half = 0;
for my $t (@unknown)
{
	my %now = map { $_ => $found{$_} // '-' } keys %{ $t->{before} };
	my $is_before = !grep { $now{$_} ne $t->{before}{$_} } keys %now;
	my $is_after = !grep { $now{$_} ne $t->{after}{$_} } keys %now;
	$half++ unless $is_before || $is_after;
	@expected{ keys %now } = values %now;
}
my @lost = grep { $expected{$_} ne '-' && !exists $found{$_} } sort keys %expected;
my @wrong = grep { exists $found{$_} && $found{$_} ne $expected{$_} } sort keys %expected;
my @stray = grep { !exists $expected{$_} } sort keys %found;

cmp_ok($count{committed}, '>', 100, 'writers committed transactions');
cmp_ok($count{unknown}, '>', 0, 'some transactions lost their answer');
is($count{'odd rollback'}, 0, 'no rollback was answered by a commit');
is("@lost[0 .. ($#lost > 4 ? 4 : $#lost)]", '', 'nothing acknowledged is lost');
is("@wrong[0 .. ($#wrong > 4 ? 4 : $#wrong)]", '', 'every event is as it was last acknowledged');
is("@stray[0 .. ($#stray > 4 ? 4 : $#stray)]", '', 'nothing rolled back is there');
is($half, 0, 'transactions of unknown outcome are there as a whole or not at all');
is($doubles, 0, 'nothing is there twice');
is($node->safe_psql('postgres', 'SELECT trace_ext.count_events()'), scalar(keys %found), 'count_events() agrees with the journals');
exact_ok($node, 'exact after recovery');

my @errors = grep { /ERROR:/ } map { split(/\n/, slurp_file("$dir/errors.$_")) } 1 .. $WRITERS;
is(join("\n", @errors), '', 'writers met no error but lost connections');

$node->safe_psql('postgres', 'SELECT trace_ext.fold()');
is( $node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.summary_deltas') . '+'
	  . $node->safe_psql('postgres', 'SELECT count(*) FROM trace_ext.count_deltas'),
	'0+0', 'fold() takes all that is outstanding');
exact_ok($node, 'exact after a fold');

$node->stop;
done_testing();
