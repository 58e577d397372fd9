# The bank of many a tutorial, in SQLAlchemy: read the balance, compute, commit.

import asyncio

import psycopg
from flask import Flask
from google.cloud.sqlcommenter.sqlalchemy.executor import BeforeExecuteFactory
from opentelemetry import trace
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import ForeignKey, create_engine, event, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship, selectinload
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import NullPool

from race import new_traceparent, race

trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer('bank')


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = 'customers'
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    accounts: Mapped[list['Account']] = relationship(back_populates='customer')


class Account(Base):
    __tablename__ = 'accounts'
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey('customers.id'))
    balance: Mapped[int]
    version: Mapped[int]
    customer: Mapped[Customer] = relationship(back_populates='accounts')


class VersionedBase(DeclarativeBase):
    pass


class VersionedAccount(VersionedBase):
    __tablename__ = 'accounts'
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {'version_id_col': version}


def pid(session):
    return {'pid': session.execute(text('SELECT pg_backend_pid()')).scalar()}


def traced(run):
    """Runs it in a span of its own, and names the request by that."""
    with tracer.start_as_current_span('withdraw') as span:
        run()
        return {'trace': '%032x' % span.get_span_context().trace_id}


#
# Ways to withdraw
#

def withdraw(engine, turn, amount):
    with Session(engine) as session:
        account = session.get(Account, turn.row)
        turn.think()
        account.balance -= amount
        name = pid(session)
        session.commit()
        return name


def withdraw_joined(engine, turn, amount):
    with Session(engine) as session:
        account = session.scalars(
            select(Account).options(joinedload(Account.customer)).join(Account.customer)
            .where(Customer.name == 'customer %d' % turn.row).order_by(Account.id).limit(1)).one()
        turn.think()
        account.balance -= amount
        session.commit()


def withdraw_selectin(engine, turn, amount):
    with Session(engine) as session:
        customer = session.scalars(
            select(Customer).options(selectinload(Customer.accounts))
            .where(Customer.id == select(func.max(Account.customer_id)).where(Account.id == turn.row).scalar_subquery())).one()
        turn.think()
        customer.accounts[0].balance -= amount
        session.commit()


def withdraw_streamed(engine, turn, amount):
    """A server-side cursor."""
    with Session(engine) as session:
        for account in session.scalars(select(Account).where(Account.id == turn.row).execution_options(yield_per=10)):
            turn.think()
            account.balance -= amount
        session.commit()


def withdraw_nested(engine, turn, amount):
    """The write in a savepoint, after one that was rolled back."""
    with Session(engine) as session:
        account = session.get(Account, turn.row)
        turn.think()
        balance = account.balance
        nested = session.begin_nested()
        account.balance = -1
        session.flush()
        nested.rollback()
        with session.begin_nested():
            session.execute(update(Account).where(Account.id == turn.row).values(balance=balance - amount).returning(Account.balance)).one()
        session.commit()


def withdraw_merged(engine, turn, amount):
    """The object outlives its session, as with a cache, and is merged into another without a look."""
    with Session(engine, expire_on_commit=False) as session:
        account = session.get(Account, turn.row)
        session.commit()
    turn.think()
    with Session(engine) as session:
        session.execute(update(Account), [{'id': turn.row, 'balance': account.balance - amount}])
        session.commit()


def withdraw_core(engine, turn, amount):
    """As the tutorial of Core has it: a connection to read, which is rolled back when it is given back, and one to write."""
    with engine.connect() as connection:
        balance = connection.execute(select(Account.balance).where(Account.id == turn.row)).scalar_one()
    turn.think()
    with engine.begin() as connection:
        connection.execute(update(Account).where(Account.id == turn.row).values(balance=balance - amount))


def withdraw_upsert(engine, turn, amount):
    with Session(engine) as session:
        balance = session.scalars(select(Account.balance).where(Account.id == turn.row)).one()
        turn.think()
        new = insert(Account).values(id=turn.row, customer_id=turn.row, balance=balance - amount, version=1)
        session.execute(new.on_conflict_do_update(index_elements=['id'], set_={'balance': new.excluded.balance}))
        session.commit()


def withdraw_often(engine, turn, amount):
    """Statements that the server keeps prepared, with a generic plan."""
    with Session(engine, expire_on_commit=True) as session:
        for _ in range(10):
            session.get(Account, turn.row).balance
            session.rollback()
        account = session.get(Account, turn.row)
        turn.think()
        account.balance -= amount
        name = pid(session)
        session.commit()
        return name


def withdraw_asyncpg(engine, turn, amount):
    async def run():
        engine = create_async_engine(url % 'asyncpg', poolclass=NullPool)
        async with AsyncSession(engine) as session:
            account = await session.get(Account, turn.row)
            turn.think()
            account.balance -= amount
            name = await session.run_sync(pid)
            await session.commit()
            return name
    return asyncio.run(run())


def withdraw_locked(engine, turn, amount):
    with Session(engine) as session:
        account = session.get(Account, turn.row, with_for_update=True)
        turn.think()
        account.balance -= amount
        session.commit()


def withdraw_read_then_locked(engine, turn, amount):
    """Reads, shows it, then reads it again under a lock before computing."""
    with Session(engine) as session:
        account = session.get(Account, turn.row)
        turn.think()
        session.refresh(account, with_for_update=True)
        account.balance -= amount
        session.commit()


def withdraw_expression(engine, turn, amount):
    with Session(engine) as session:
        account = session.get(Account, turn.row)
        turn.think()
        account.balance = Account.balance - amount
        session.commit()


def withdraw_upsert_expression(engine, turn, amount):
    with Session(engine) as session:
        session.scalars(select(Account.balance).where(Account.id == turn.row)).one()
        turn.think()
        new = insert(Account).values(id=turn.row, customer_id=turn.row, balance=-amount, version=1)
        session.execute(new.on_conflict_do_update(index_elements=['id'], set_={'balance': Account.balance + new.excluded.balance}))
        session.commit()


def withdraw_versioned(engine, turn, amount):
    while True:
        try:
            with Session(engine) as session:
                account = session.get(VersionedAccount, turn.row)
                turn.think()
                account.balance -= amount
                session.commit()
                return
        except StaleDataError:
            pass


def withdraw_again(engine, turn, amount):
    """REPEATABLE READ or SERIALIZABLE, and again where that fails."""
    while True:
        try:
            withdraw(engine, turn, amount)
            return
        except OperationalError:
            pass


#
# Who is asked
#

url = 'postgresql+%s://'
v3 = create_engine(url % 'psycopg')
v2 = create_engine(url % 'psycopg2')
prepared = create_engine(url % 'psycopg', connect_args={'prepare_threshold': 0})
google = create_engine(url % 'psycopg')
event.listen(google, 'before_cursor_execute', BeforeExecuteFactory(with_opentelemetry=True, with_db_driver=True, with_db_framework=True), retval=True)
otel = create_engine(url % 'psycopg')
SQLAlchemyInstrumentor().instrument(engine=otel, enable_commenter=True)
# One driver for each instrumentation: it changes what the module's connect() is.
dbapi = create_engine(url % 'psycopg', creator=lambda: PsycopgInstrumentor().instrument_connection(psycopg.connect(''), enable_commenter=True))
setting = create_engine(url % 'psycopg', pool_size=2, max_overflow=0)

app = Flask('bank')


@app.post('/accounts/<int:row>/withdraw')
def withdraw_view(row):
    withdraw(google, app.config['turn'], app.config['amount'].pop(0))
    return 'ok'


def posted(turn, amount):
    app.config.update(turn=turn)
    app.config.setdefault('amount', []).append(amount)
    name = traced(lambda: app.test_client().post('/accounts/%d/withdraw' % turn.row).get_data())
    return dict(name, request='/accounts/<int:row>/withdraw')


def with_setting(turn, amount):
    """The traceparent in a setting of the transaction."""
    traceparent = new_traceparent()

    with Session(setting) as session:
        event.listen(session, 'after_begin', lambda s, t, connection: connection.execute(
            select(func.set_config('trace_ext.traceparent', traceparent, True))))
        account = session.get(Account, turn.row)
        turn.think()
        account.balance -= amount
        session.commit()
    return {'trace': traceparent[3:35]}


def both(row, title, outcome, run, waits=False):
    race(row, title, outcome, lambda turn: run(turn, 100), lambda turn: run(turn, 200), waits)


def all_of(run):
    return lambda turn, amount: traced(lambda: run(otel, turn, amount))


both(1, 'Session.get(), psycopg 3', 'lost', lambda turn, amount: withdraw(v3, turn, amount))
both(2, 'Session.get(), psycopg 2', 'lost', lambda turn, amount: withdraw(v2, turn, amount))
both(3, 'prepared statements', 'lost', lambda turn, amount: withdraw_often(prepared, turn, amount))
both(4, 'comments of opentelemetry-instrumentation-sqlalchemy', 'lost', all_of(withdraw))
both(5, 'comments of google-cloud-sqlcommenter, in Flask', 'lost', posted)
both(6, 'comments of opentelemetry-instrumentation-psycopg', 'lost', lambda turn, amount: traced(lambda: withdraw(dbapi, turn, amount)))
both(7, 'trace_ext.traceparent set at begin', 'lost', with_setting)
both(8, 'the same connections without a traceparent', 'lost', lambda turn, amount: withdraw(setting, turn, amount))
both(9, 'joinedload', 'lost', all_of(withdraw_joined))
both(10, 'selectinload and a subquery', 'lost', all_of(withdraw_selectin))
both(11, 'server-side cursor', 'lost', all_of(withdraw_streamed))
both(12, 'savepoints, UPDATE RETURNING', 'lost', all_of(withdraw_nested))
both(13, 'an object that outlives its session', 'lost', all_of(withdraw_merged))
both(14, 'Core: read in one connection, write in another', 'lost', all_of(withdraw_core))
both(15, 'ON CONFLICT', 'lost', all_of(withdraw_upsert))
both(16, 'AsyncSession, asyncpg', 'lost', lambda turn, amount: withdraw_asyncpg(None, turn, amount))
both(17, 'with_for_update', 'none', all_of(withdraw_locked), waits=True)
both(18, 'read, then refreshed with_for_update', 'none', all_of(withdraw_read_then_locked))
both(19, 'an SQL expression', 'none', all_of(withdraw_expression))
both(20, 'ON CONFLICT, an SQL expression', 'none', all_of(withdraw_upsert_expression))
both(21, 'version_id_col', 'none', all_of(withdraw_versioned))
for row, level in (22, 'REPEATABLE READ'), (23, 'SERIALIZABLE'):
    both(row, level, 'none', all_of(lambda engine, turn, amount: withdraw_again(engine.execution_options(isolation_level=level), turn, amount)))
