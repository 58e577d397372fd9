# A crowd at a bank of few accounts, in SQLAlchemy: each request withdraws in a way by chance, and a
# line of JSON says what it read, and in which transaction it wrote.

import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from opentelemetry import trace
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import create_engine, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer('bank')
engine = create_engine('postgresql+psycopg://', pool_size=8)
SQLAlchemyInstrumentor().instrument(engine=engine, enable_commenter=True)


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = 'accounts'
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]


def withdraw(chance, row, amount):
    way = chance.choice(['save', 'save', 'save', 'two sessions', 'lock', 'expression', 'repeatable'])
    on = engine.execution_options(isolation_level='REPEATABLE READ') if way == 'repeatable' else engine
    with Session(on, expire_on_commit=False) as session:
        account = session.get(Account, row, with_for_update=way == 'lock')
        read = account.balance
        if way == 'two sessions':
            session.rollback()
        time.sleep(chance.random() * 0.003)
        if way == 'two sessions':
            session.execute(update(Account).where(Account.id == row).values(balance=read - amount))
        elif way == 'expression':
            account.balance = Account.balance - amount
        else:
            account.balance = read - amount
        session.flush()
        xid = session.execute(text('SELECT pg_current_xact_id()::text')).scalar()
        session.commit()
    return {'way': way, 'read': read, 'xid': xid}


def request(seed):
    chance = random.Random(seed)
    row = chance.randint(1, 4)
    with tracer.start_as_current_span('withdraw') as span:
        try:
            done = withdraw(chance, row, chance.randint(1, 1000))
        except OperationalError:
            # At REPEATABLE READ somebody else was faster.
            return None
    return dict(done, row=row, trace='%032x' % span.get_span_context().trace_id)


seed = int(sys.argv[1])
with ThreadPoolExecutor(8) as crowd:
    for future in [crowd.submit(request, seed + i) for i in range(int(sys.argv[2]))]:
        done = future.result()
        if done:
            print(json.dumps(done))
