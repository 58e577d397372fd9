// The bank in Prisma, with its own writers of comments. Its client is made by `prisma generate`.

const { NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');
const { trace } = require('@opentelemetry/api');
const { registerInstrumentations } = require('@opentelemetry/instrumentation');
const { PrismaInstrumentation } = require('@prisma/instrumentation');
const { PrismaPg } = require('@prisma/adapter-pg');
const { traceContext } = require('@prisma/sqlcommenter-trace-context');
const { queryTags, withQueryTags } = require('@prisma/sqlcommenter-query-tags');
const { race } = require('./race.js');
const { PrismaClient, Prisma } = require(process.env.PRISMA_GENERATED);

new NodeTracerProvider().register();
registerInstrumentations({ instrumentations: [new PrismaInstrumentation()] });

async function main() {
  const connection = { host: process.env.PGHOST, port: Number(process.env.PGPORT), user: process.env.PGUSER, database: process.env.PGDATABASE, max: 4 };
  const plain = new PrismaClient({ adapter: new PrismaPg(connection) });
  const commented = new PrismaClient({ adapter: new PrismaPg(connection), comments: [queryTags(), traceContext()] });

  // Runs it as a request of its own trace, to a route.
  const traced = (work) => (amount) => (row, think) => trace.getTracer('bank').startActiveSpan('withdraw', { root: true }, async (span) => {
    const route = '/accounts/:id/withdraw';
    await withQueryTags({ route }, () => work(row, amount, think));
    span.end();
    return { trace: span.spanContext().traceId, request: route };
  });

  async function withdraw(row, amount, think) {
    const account = await commented.account.findUnique({ where: { id: row } });
    await think();
    await commented.account.update({ where: { id: row }, data: { balance: account.balance - amount } });
  }

  const untraced = (amount) => (row, think) => plain.$transaction(async (tx) => {
    const account = await tx.account.findUnique({ where: { id: row } });
    await think();
    await tx.account.update({ where: { id: row }, data: { balance: account.balance - amount } });
    return { pid: (await tx.$queryRaw`SELECT pg_backend_pid() AS pid`)[0].pid };
  });

  const withdrawAtOnce = (row, amount, think) => commented.$transaction(async (tx) => {
    const account = await tx.account.findFirstOrThrow({ where: { id: row, balance: { gt: 0 } } });
    await think();
    await tx.account.updateMany({ where: { id: row }, data: { balance: account.balance - amount } });
  });

  async function withdrawUpserted(row, amount, think) {
    const account = await commented.account.findUnique({ where: { id: row } });
    await think();
    const balance = account.balance - amount;
    await commented.account.upsert({ where: { id: row }, create: { id: row, balance }, update: { balance } });
  }

  async function withdrawDecremented(row, amount, think) {
    await commented.account.findUnique({ where: { id: row } });
    await think();
    await commented.account.update({ where: { id: row }, data: { balance: { decrement: amount } } });
  }

  async function withdrawVersioned(row, amount, think) {
    for (;;) {
      const account = await commented.account.findUnique({ where: { id: row } });
      await think();
      const { count } = await commented.account.updateMany({
        where: { id: row, version: account.version }, data: { balance: account.balance - amount, version: { increment: 1 } },
      });
      if (count) return;
    }
  }

  const withdrawLocked = (row, amount, think) => commented.$transaction(async (tx) => {
    const [account] = await tx.$queryRaw`SELECT balance FROM account WHERE id = ${row} FOR UPDATE`;
    await think();
    await tx.account.update({ where: { id: row }, data: { balance: account.balance - amount } });
  });

  async function withdrawAgain(row, amount, think) {
    for (;;) {
      try {
        await commented.$transaction(async (tx) => {
          const account = await tx.account.findUnique({ where: { id: row } });
          await think();
          await tx.account.update({ where: { id: row }, data: { balance: account.balance - amount } });
        }, { isolationLevel: Prisma.TransactionIsolationLevel.Serializable });
        return;
      } catch (failure) {
        if (failure.code !== 'P2034') throw failure;
      }
    }
  }

  const both = (row, title, outcome, work, told) => race(row, title, outcome, work(100), work(200), told);
  await both(1, '$transaction(), update()', 'lost', untraced);
  await both(2, 'update(), comments of @prisma/sqlcommenter-trace-context', 'lost', traced(withdraw));
  await both(3, '$transaction(), updateMany()', 'lost', traced(withdrawAtOnce));
  await both(4, 'upsert()', 'lost', traced(withdrawUpserted));
  await both(5, 'the same connections without comments', 'lost', untraced);
  await both(6, 'decrement', 'none', traced(withdrawDecremented));
  await both(7, 'a version column', 'none', traced(withdrawVersioned));
  await both(8, 'FOR UPDATE', 'none', traced(withdrawLocked), { waits: true });
  await both(9, 'SERIALIZABLE', 'none', traced(withdrawAgain));
  await Promise.all([plain.$disconnect(), commented.$disconnect()]);
}

main().catch((failure) => {
  console.error(failure);
  process.exit(1);
});
