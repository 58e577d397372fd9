// The bank in Hibernate and in plain JDBC, as their manuals have it: find, compute, commit.

import jakarta.persistence.*;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.*;
import org.hibernate.LockMode;
import org.hibernate.ScrollMode;
import org.hibernate.ScrollableResults;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.StatelessSession;
import org.hibernate.cfg.Configuration;
import org.hibernate.resource.jdbc.spi.StatementInspector;

public class Bank {
    @Entity(name = "Customer") @Table(name = "customer")
    public static class Customer {
        @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Integer id;
        String name;
        @OneToMany(mappedBy = "customer") List<Account> accounts;
    }

    @Entity(name = "Account") @Table(name = "account")
    public static class Account {
        @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Integer id;
        @ManyToOne(fetch = FetchType.LAZY) Customer customer;
        long balance;
        String note;
    }

    @Entity(name = "VersionedAccount") @Table(name = "account")
    public static class VersionedAccount {
        @Id Integer id;
        long balance;
        @Version int version;
    }

    /** What sqlcommenter's library for Hibernate does. */
    public static class Commenter implements StatementInspector {
        static final ThreadLocal<String> REQUEST = new ThreadLocal<>();

        @Override
        public String inspect(String sql) {
            return REQUEST.get() == null ? sql : sql + " /*" + REQUEST.get() + "*/";
        }
    }

    //
    // Two requests, of which the second comes while the first thinks
    //

    static final ExecutorService OTHERS = Executors.newCachedThreadPool();

    /** A request's way between its read and its write. */
    interface Think { void now() throws Exception; }

    interface Way { void run(int row, long amount, Think think) throws Exception; }

    /** Runs a way, and returns what names the request, as JSON. */
    interface Asked { String by(Way way, int row, long amount, Think think) throws Exception; }

    static void race(int row, String title, String outcome, Asked asked, Way first, Way second, boolean waits, String told) throws Exception {
        List<Future<String>> meanwhile = new ArrayList<>();
        String loser = asked.by(first, row, 100, () -> {
            if (!meanwhile.isEmpty()) {
                return;
            }
            meanwhile.add(OTHERS.submit(() -> asked.by(second, row, 200, () -> { })));
            try {
                meanwhile.get(0).get(waits ? 1500 : 30000, TimeUnit.MILLISECONDS);
            } catch (TimeoutException waiting) {
                if (!waits) {
                    throw waiting;
                }
            }
        });
        System.out.printf("{\"row\": %d, \"title\": \"%s\", \"outcome\": \"%s\", \"winner\": %s, \"loser\": %s%s}%n",
            row, title, outcome, meanwhile.get(0).get(30, TimeUnit.SECONDS), loser, told);
    }

    static void both(int row, String title, String outcome, Asked asked, Way way) throws Exception {
        race(row, title, outcome, asked, way, way, false, "");
    }

    /** Nobody says who asks; ways tell the process id of their session. */
    static String untraced(Way way, int row, long amount, Think think) throws Exception {
        way.run(row, amount, think);
        return "{\"pid\": " + PID.get() + "}";
    }

    static String traced(Way way, int row, long amount, Think think) throws Exception {
        String trace = UUID.randomUUID().toString().replace("-", "");
        Commenter.REQUEST.set("action='withdraw',controller='BankController',framework='spring',traceparent='00-" + trace + "-00f067aa0ba902b7-01'");
        try {
            way.run(row, amount, think);
        } finally {
            Commenter.REQUEST.remove();
        }
        return "{\"trace\": \"" + trace + "\", \"request\": \"BankController.withdraw\"}";
    }

    static final ThreadLocal<Integer> PID = new ThreadLocal<>();

    //
    // Ways to withdraw, with Hibernate
    //

    static SessionFactory factory;

    static void find(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            Account account = session.find(Account.class, row);
            think.now();
            account.balance -= amount;
            PID.set(session.createNativeQuery("SELECT pg_backend_pid()", Integer.class).getSingleResult());
            session.getTransaction().commit();
        }
    }

    /** Often enough for a generic plan. */
    static void findOften(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            Account account = session.find(Account.class, row);
            for (int i = 0; i < 10; i++) {
                session.refresh(account);
            }
            think.now();
            account.balance -= amount;
            PID.set(session.createNativeQuery("SELECT pg_backend_pid()", Integer.class).getSingleResult());
            session.getTransaction().commit();
        }
    }

    static void joined(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            Customer customer = session.createSelectionQuery("from Customer c join fetch c.accounts where c.name = :name", Customer.class)
                .setParameter("name", "customer " + row).getSingleResult();
            think.now();
            customer.accounts.get(0).balance -= amount;
            session.getTransaction().commit();
        }
    }

    static void streamed(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            try (ScrollableResults<Account> rows = session.createSelectionQuery(
                    "from Account a where a.id in (select max(b.id) from Account b where b.customer.id = :row)", Account.class)
                    .setParameter("row", row).setFetchSize(1).scroll(ScrollMode.FORWARD_ONLY)) {
                while (rows.next()) {
                    think.now();
                    rows.get().balance -= amount;
                }
            }
            session.getTransaction().commit();
        }
    }

    /** The object outlives its session, and is written without a look. */
    static void stateless(int row, long amount, Think think) throws Exception {
        Account account;
        try (StatelessSession session = factory.openStatelessSession()) {
            account = session.get(Account.class, row);
        }
        think.now();
        account.balance -= amount;
        try (StatelessSession session = factory.openStatelessSession()) {
            session.beginTransaction();
            session.update(account);
            session.getTransaction().commit();
        }
    }

    static void upserted(int row, long amount, Think think) throws Exception {
        try (StatelessSession session = factory.openStatelessSession()) {
            session.beginTransaction();
            Account account = session.get(Account.class, row);
            think.now();
            account.balance -= amount;
            session.upsert(account);
            session.getTransaction().commit();
        }
    }

    static void updated(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            long balance = session.createSelectionQuery("select a.balance from Account a where a.id = :row", Long.class).setParameter("row", row).getSingleResult();
            think.now();
            session.createMutationQuery("update Account a set a.balance = :balance where a.id = :row")
                .setParameter("balance", balance - amount).setParameter("row", row).executeUpdate();
            session.getTransaction().commit();
        }
    }

    /** Changes another column, and all are written. */
    static void annotated(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            Account account = session.find(Account.class, row);
            think.now();
            account.note = "seen";
            session.getTransaction().commit();
        }
    }

    static void merged(int row, long amount, Think think) throws Exception {
        Account account;
        try (Session session = factory.openSession()) {
            account = session.find(Account.class, row);
        }
        think.now();
        account.balance -= amount;
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            session.merge(account);
            session.getTransaction().commit();
        }
    }

    static void locked(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            Account account = session.find(Account.class, row, LockMode.PESSIMISTIC_WRITE);
            think.now();
            account.balance -= amount;
            session.getTransaction().commit();
        }
    }

    static void refreshed(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            Account account = session.find(Account.class, row);
            think.now();
            session.refresh(account, LockMode.PESSIMISTIC_WRITE);
            account.balance -= amount;
            session.getTransaction().commit();
        }
    }

    static void computed(int row, long amount, Think think) throws Exception {
        try (Session session = factory.openSession()) {
            session.beginTransaction();
            session.find(Account.class, row);
            think.now();
            session.createMutationQuery("update Account a set a.balance = a.balance - :amount where a.id = :row")
                .setParameter("amount", amount).setParameter("row", row).executeUpdate();
            session.getTransaction().commit();
        }
    }

    static void versioned(int row, long amount, Think think) throws Exception {
        for (;;) {
            try (Session session = factory.openSession()) {
                session.beginTransaction();
                VersionedAccount account = session.find(VersionedAccount.class, row);
                think.now();
                account.balance -= amount;
                session.getTransaction().commit();
                return;
            } catch (OptimisticLockException | RollbackException again) {
                // Somebody else was faster.
            }
        }
    }

    static void again(int row, long amount, Think think) throws Exception {
        for (;;) {
            try (Session session = factory.openSession()) {
                session.beginTransaction();
                session.doWork(connection -> connection.createStatement().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"));
                Account account = session.find(Account.class, row);
                think.now();
                account.balance -= amount;
                session.getTransaction().commit();
                return;
            } catch (PersistenceException | IllegalStateException again) {
                // Somebody else was faster.
            }
        }
    }

    //
    // Ways to withdraw, with JDBC
    //

    static String url;

    static Connection connect(String options) throws SQLException {
        Connection connection = DriverManager.getConnection(url + options, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
        try (ResultSet rows = connection.createStatement().executeQuery("SELECT pg_backend_pid()")) {
            rows.next();
            PID.set(rows.getInt(1));
        }
        return connection;
    }

    static String commented(String sql) {
        return new Commenter().inspect(sql);
    }

    static Way jdbc(String options) {
        return (row, amount, think) -> {
            try (Connection connection = connect(options);
                 PreparedStatement read = connection.prepareStatement(commented("SELECT balance FROM account WHERE id = ?"));
                 PreparedStatement write = connection.prepareStatement(commented("UPDATE account SET balance = ? WHERE id = ?"))) {
                connection.setAutoCommit(false);
                read.setFetchSize(1);
                read.setInt(1, row);
                ResultSet rows = read.executeQuery();
                rows.next();
                think.now();
                write.setLong(1, rows.getLong(1) - amount);
                write.setInt(2, row);
                write.addBatch();
                write.executeBatch();
                connection.commit();
            }
        };
    }

    static void updatable(int row, long amount, Think think) throws Exception {
        try (Connection connection = connect("");
             PreparedStatement read = connection.prepareStatement(
                 commented("SELECT id, balance FROM account WHERE id = ?"), ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
            read.setInt(1, row);
            ResultSet rows = read.executeQuery();
            rows.next();
            think.now();
            rows.updateLong("balance", rows.getLong("balance") - amount);
            rows.updateRow();
        }
    }

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE") + "?prepareThreshold=1";
        factory = new Configuration()
            .addAnnotatedClass(Customer.class).addAnnotatedClass(Account.class).addAnnotatedClass(VersionedAccount.class)
            .setProperty("hibernate.connection.url", url)
            .setProperty("hibernate.connection.username", System.getenv("PGUSER"))
            .setProperty("hibernate.connection.password", System.getenv("PGPASSWORD"))
            .setProperty("hibernate.connection.provider_class", "hikari")
            .setProperty("hibernate.hikari.maximumPoolSize", "2")
            .setProperty("hibernate.jdbc.batch_size", "10")
            .setProperty("hibernate.session_factory.statement_inspector", Commenter.class.getName())
            .buildSessionFactory();
        both(1, "find()", "lost", Bank::untraced, Bank::find);
        both(2, "find(), comments as of sqlcommenter", "lost", Bank::traced, Bank::find);
        both(3, "the same connections without comments, with generic plans", "lost", Bank::untraced, Bank::findOften);
        both(4, "join fetch", "lost", Bank::traced, Bank::joined);
        both(5, "a subquery, scroll() with a fetch size", "lost", Bank::traced, Bank::streamed);
        both(6, "StatelessSession.update() of what another session read", "lost", Bank::traced, Bank::stateless);
        both(7, "StatelessSession.upsert()", "lost", Bank::traced, Bank::upserted);
        both(8, "HQL", "lost", Bank::traced, Bank::updated);
        race(9, "a column that did not change", "lost", Bank::traced, Bank::annotated, Bank::find, false, ", \"written\": \"1000\", \"final\": \"1000\"");
        both(10, "JDBC, a fetch size, a batch", "lost", Bank::traced, jdbc(""));
        both(11, "JDBC, simple protocol", "lost", Bank::untraced, jdbc("&preferQueryMode=simple"));
        both(12, "JDBC, an updatable ResultSet", "lost", Bank::untraced, Bank::updatable);
        race(13, "merge(), which reads anew before it writes: it cannot be told", "none", Bank::traced, Bank::merged, Bank::merged, false, ", \"final\": \"900\"");
        race(14, "PESSIMISTIC_WRITE", "none", Bank::traced, Bank::locked, Bank::locked, true, "");
        both(15, "find(), then refresh(PESSIMISTIC_WRITE)", "none", Bank::traced, Bank::refreshed);
        both(16, "HQL that computes", "none", Bank::traced, Bank::computed);
        both(17, "@Version", "none", Bank::traced, Bank::versioned);
        both(18, "REPEATABLE READ", "none", Bank::traced, Bank::again);
        factory.close();
        OTHERS.shutdown();
    }
}
