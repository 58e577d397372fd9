# 038_watch_orms.pl
#		Watched tables and real clients: the programs in test/clients lose updates, and are named;
#		what these libraries have against it is not.
#
# Each program has two requests take 100 and 200 off one balance of 1000, the second of which
# comes while the first thinks, in one row for each way to do that; of each it prints a line of
# JSON, which says what is to be found.  The application's role has no right on the extension,
# and its code knows nothing of it, but where the title of a row says so.
#
# Prisma is large, so it has a part only where it was fetched before, or TRACE_EXT_CLIENTS_PRISMA is set.
#
# Libraries are fetched once, in a limited time, into TRACE_EXT_CLIENTS, or a directory of
# this user below /var/tmp.  What cannot be had is skipped, and said.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TraceExtTest;

# Seconds for all downloads of a language, and for a program.
my $MOST_FETCH = 200;
my $MOST_RUN = 120;

my $clients = "$FindBin::RealBin/../clients";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('orms', shared_preload_libraries => 'trace_ext', 'trace_ext.workers' => 'off', listen_addresses => '127.0.0.1');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Others may not have made it.
sub cache
{
	my $path = $ENV{TRACE_EXT_CLIENTS} // "/var/tmp/trace_ext-clients-$<";
	mkdir($path, 0700);
	return !-l $path && -o $path && ((stat(_))[2] & 022) == 0 ? $path : $dir;
}

seed_random();
my $cache = cache();
my %fetching = map {
	my $language = $_;
	$language => psql_child(sub { exec("timeout $MOST_FETCH $clients/fetch.sh $language '$cache' >'$dir/$language.fetch' 2>&1") });
} qw(node java python), -e "$cache/prisma/complete" || $ENV{TRACE_EXT_CLIENTS_PRISMA} ? 'prisma' : ();

# Whether what the language needs is there by now.
sub has
{
	my ($language) = @_;
	waitpid($fetching{$language}, 0);
	return 1 if $? == 0;
	my ($why) = (-s "$dir/$language.fetch" ? slurp_file("$dir/$language.fetch") : '') =~ /([^\n]*)\n\z/;
	diag("SKIPPED: clients of $language: " . ($why // 'they did not come in time'));
	return 0;
}

# A password, for those who cannot use the socket: its port is open to all on this machine.
my $password = sprintf('%08x%08x', map { int(rand(2**32)) } 1 .. 2);
sql(qq{CREATE ROLE app LOGIN PASSWORD '$password'; GRANT CREATE ON SCHEMA public TO app});
{
	my $hba = $node->data_dir . '/pg_hba.conf';
	my $local = join('', grep { /^local/ } split(/^/, slurp_file($hba)));
	open(my $file, '>', $hba) or die;
	print $file $local, "host all app 127.0.0.1/32 scram-sha-256\n";
	close($file);
	$node->reload;
}

# run CLIENT, COMMAND: the lines that a program printed.
sub run
{
	my ($client, $command) = @_;
	my %env = (PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'app', PGPASSWORD => $password);
	my $set = join(' ', map { "$_='$env{$_}'" } sort keys %env);
	my $status = system("cd '$clients' && $set timeout $MOST_RUN env $command >'$dir/out' 2>'$dir/err' </dev/null");
	is($status, 0, "$client: the program ended") or diag(slurp_file("$dir/out"), substr(slurp_file("$dir/err"), 0, 10000));
	return map { decode_json($_) } grep { /^\{/ } split(/\n/, slurp_file("$dir/out"));
}

sub detect
{
	sql(q{DO $$ BEGIN WHILE (SELECT inserted + duplicates > 0 FROM trace_ext_internal.store_watched()) LOOP END LOOP; END $$});
	sql('SET trace_ext.lateness = 0; SELECT trace_ext.fold(); CALL trace_ext.detect_all()');
	return;
}

# begin SQL: tables that their owner has watched.
sub begin
{
	my ($sql) = @_;
	sql('TRUNCATE trace_ext.events, trace_ext.findings, trace_ext.race_pairs, trace_ext.detect_queue');
	sql("SET client_min_messages = warning; SET ROLE app; $sql");
	return;
}

# What a sentence calls a request.
sub called
{
	my ($who) = @_;
	return qr/session $who->{pid} \(trace [0-9a-f]{8}\)/ if $who->{pid};
	my $trace = 'trace ' . substr($who->{trace}, 0, 8);
	return $who->{request} ? qr/request "\Q$who->{request}\E" \($trace\)/ : qr/$trace/;
}

# A row, of which the program said what is to be found.
sub row_ok
{
	my ($client, $table, $column, $row) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$table = $row->{table} // $table;
	$column = 'stock' if $table =~ /product/;
	my $name = "$client: $row->{title}";
	my $variable = "public.${table}[$row->{row}].$column";
	my ($read, $found, $written) = map { qr/\Q$_\E/ } $row->{read} // 1000, $row->{found} // 800, $row->{written} // 900;
	my ($loser, $winner) = ($row->{loser}, $row->{winner});

	is(sql("SELECT $column FROM $table WHERE id = $row->{row}"), $row->{final} // ($row->{outcome} eq 'none' ? 700 : 900), "$name: what became of it");
	my ($kind, $confidence, $of_winner, $of_loser, $evidence) = split(/\|/, sql(
		qq{SELECT kind, confidence, event1_trace_id, event2_trace_id, evidence FROM trace_ext.findings WHERE variable = '$variable'}), 5);
	if ($row->{outcome} eq 'none')
	{
		is($evidence, undef, "$name: nothing is found");
		return;
	}
	my ($by_loser, $by_winner) = (called($loser), called($winner));
	my $update = qr/"(?:UPDATE|INSERT|MERGE|update|insert|merge) .*?"/;
	my $sentence = qr/^$by_loser read \Q$variable\E = $read by "(?:SELECT|select|DECLARE) .*, found $found when it wrote $written by $update under .*: the update from $read to $found of $by_winner by $update under READ COMMITTED was lost/;
	is($kind, 'lost update', "$name: it is found");
	like($evidence // '', $sentence, "$name: and told");
	is("$confidence $of_winner $of_loser", join(' ', $row->{confidence} // 1, map { my $id = $_->{trace}; $id =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/; $id } $winner, $loser), "$name: of these requests")
	  if $loser->{trace} && defined $kind;
	return;
}

# client_ok CLIENT, ROWS, TABLE, COMMAND: all the rows of a program.
sub client_ok
{
	my ($client, $count, $table, $command) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $begin = time();
	my @rows = run($client, $command);
	is(scalar(@rows), $count, "$client: $count ways");
	detect();
	row_ok($client, $table, 'balance', $_) foreach @rows;
	is(sql('SELECT count(*) FROM trace_ext.findings'), scalar(grep { $_->{outcome} ne 'none' } @rows), "$client: nothing else is found");
	note("$client: " . (time() - $begin) . ' s');
	return;
}

SKIP:
{
	skip 'no clients of Node', 1 unless has('node');
	my $tables = q{
		DROP TABLE IF EXISTS "Accounts", "Owners";
		CREATE TABLE "Owners" (id serial PRIMARY KEY, name varchar(255));
		CREATE TABLE "Accounts" (id serial PRIMARY KEY, balance int NOT NULL, version int NOT NULL DEFAULT 0,
			"OwnerId" int REFERENCES "Owners" ON DELETE SET NULL ON UPDATE CASCADE,
			"createdAt" timestamptz NOT NULL DEFAULT now(), "updatedAt" timestamptz NOT NULL DEFAULT now());
		INSERT INTO "Owners" (name) SELECT 'owner ' || i FROM generate_series(1, 20) i;
		INSERT INTO "Accounts" (balance, "OwnerId") SELECT 1000, i FROM generate_series(1, 20) i;
		RESET ROLE;
		SELECT trace_ext.watch('"Accounts"', '{balance}')};
	my $with = "NODE_PATH='$cache/node/node_modules' node";
	begin($tables);
	client_ok('node-postgres', 12, '"Accounts"', "$with node_postgres_bank.js");
	begin($tables);
	client_ok('Sequelize', 13, '"Accounts"', "$with sequelize_bank.js");
	begin($tables);
	client_ok('TypeORM', 7, '"Accounts"', "$with typeorm_bank.js");
}

SKIP:
{
	skip 'no clients of Java', 1 unless has('java');
	my $classes = "$cache/java/classes";
	my $options = '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m';
	if (!-e "$classes/Bank.class" || -M "$classes/Bank.class" > -M "$clients/Bank.java")
	{
		is(system("javac -cp '$cache/java/lib/*' -d '$classes' '$clients/Bank.java' >'$dir/javac' 2>&1"), 0, 'Bank.java') or diag(slurp_file("$dir/javac"));
	}
	begin(q{
		CREATE TABLE customer (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name varchar(255));
		CREATE TABLE account (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, balance bigint NOT NULL, note varchar(255),
			version int NOT NULL DEFAULT 0, customer_id int REFERENCES customer);
		INSERT INTO customer (name) SELECT 'customer ' || i FROM generate_series(1, 20) i;
		INSERT INTO account (balance, customer_id) SELECT 1000, i FROM generate_series(1, 20) i;
		RESET ROLE;
		SELECT trace_ext.watch('account', '{balance}')});
	client_ok('Hibernate and JDBC', 18, 'account', "java $options -cp '$cache/java/lib/*:$classes' Bank");
}

SKIP:
{
	skip 'no clients of Python', 1 unless has('python');
	my $with = "PYTHONDONTWRITEBYTECODE=1 '$cache/python/venv/bin/python'";
	begin(q{
		CREATE TABLE shop_customer (id serial PRIMARY KEY, name varchar(50) NOT NULL);
		CREATE TABLE shop_account (id serial PRIMARY KEY, owner_id int NOT NULL REFERENCES shop_customer DEFERRABLE INITIALLY DEFERRED,
			balance numeric(10, 2) NOT NULL, note varchar(50) NOT NULL, version int NOT NULL);
		CREATE TABLE shop_product (id serial PRIMARY KEY, stock int NOT NULL CHECK (stock >= 0));
		INSERT INTO shop_customer (name) SELECT 'customer ' || i FROM generate_series(1, 30) i;
		INSERT INTO shop_account (owner_id, balance, note, version) SELECT i, 1000, '', 1 FROM generate_series(1, 30) i;
		INSERT INTO shop_product (stock) SELECT 5 FROM generate_series(1, 30) i;
		RESET ROLE;
		SELECT trace_ext.watch('shop_account', '{balance}'), trace_ext.watch('shop_product')});
	client_ok('Django', 20, 'shop_account', "$with django_shop.py");
	begin(q{
		CREATE TABLE customers (id serial PRIMARY KEY, name varchar NOT NULL);
		CREATE TABLE accounts (id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, balance int NOT NULL, version int NOT NULL DEFAULT 1);
		INSERT INTO customers (name) SELECT 'customer ' || i FROM generate_series(1, 30) i;
		INSERT INTO accounts (customer_id, balance) SELECT i, 1000 FROM generate_series(1, 30) i;
		RESET ROLE;
		SELECT trace_ext.watch('accounts', '{balance}')});
	client_ok('SQLAlchemy', 23, 'accounts', "$with sqlalchemy_bank.py");

	# A crowd, and a trigger as the oracle: lost is what a write found that its request had not read.
	begin(q{
		CREATE TABLE log (xid text, row int, found int, written int);
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO log VALUES (pg_current_xact_id()::text, NEW.id, OLD.balance, NEW.balance);
			RETURN NULL;
		END $$;
		CREATE TRIGGER note AFTER UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION note();
		CREATE TABLE said (xid text, way text, read int, trace uuid)});
	my @said = run('crowd', "$with sqlalchemy_crowd.py " . int(rand(1000000)) . ' 400');
	cmp_ok(scalar(@said), '>', 300, 'crowd: requests: ' . @said);
	detect();
	sql('INSERT INTO said VALUES ' . join(', ', map { "('$_->{xid}', '$_->{way}', $_->{read}, '$_->{trace}')" } @said));
	my $lost = q{SELECT trace FROM said JOIN log USING (xid) WHERE way <> 'expression' AND read <> found};
	my $told = q{
		SELECT event2_trace_id FROM generate_series(1, 4) i
		 CROSS JOIN trace_ext.find_variable_races('public.accounts[' || i || '].balance') WHERE kind = 'lost update'};
	cmp_ok(sql("SELECT count(*) FROM ($lost) l"), '>', 20, 'crowd: it loses updates: ' . sql("SELECT count(*) FROM ($lost) l"));
	is(sql("SELECT way, read, found, written FROM said JOIN log USING (xid) WHERE trace IN ($lost EXCEPT ALL ($told))"), '', 'crowd: all of them are found');
	is(sql("SELECT way, read, found, written FROM said JOIN log USING (xid) WHERE trace IN ($told EXCEPT ALL ($lost))"), '', 'crowd: and no others');
}

SKIP:
{
	skip 'Prisma was not asked for', 1 unless $fetching{prisma};
	skip 'no Prisma', 1 unless has('prisma');
	begin(q{
		DROP TABLE IF EXISTS account;
		CREATE TABLE account (id serial PRIMARY KEY, balance int NOT NULL, version int NOT NULL DEFAULT 0);
		INSERT INTO account (balance) SELECT 1000 FROM generate_series(1, 20) i;
		RESET ROLE;
		SELECT trace_ext.watch('account', '{balance}')});
	client_ok('Prisma', 9, 'account', "NODE_PATH='$cache/prisma/node_modules' PRISMA_GENERATED='$cache/prisma/generated' node prisma_bank.js");
}

is(sql('SELECT sum(dropped) FROM trace_ext.watched_tables') || 0, 0, 'nothing was dropped');
is(sql('SELECT bad_requests + errors + not_covered FROM trace_ext_internal.watch_counts()'), 0, 'nor left out');
$node->stop;
done_testing();
