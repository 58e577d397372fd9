// The bank in TypeORM. Its save() reads the row again before it writes it.

const { traced } = require('./tracing.js');
const { DataSource, EntitySchema } = require('typeorm');
const { race } = require('./race.js');

const Account = new EntitySchema({
  name: 'Account', tableName: 'Accounts',
  columns: { id: { type: Number, primary: true, generated: true }, balance: { type: Number } },
});
const source = new DataSource({
  type: 'postgres', host: process.env.PGHOST, port: Number(process.env.PGPORT), username: process.env.PGUSER,
  database: process.env.PGDATABASE, entities: [Account], poolSize: 4,
});
const accounts = source.getRepository(Account);

async function withdraw(row, amount, think) {
  const account = await accounts.findOneBy({ id: row });
  await think();
  await accounts.update(row, { balance: account.balance - amount });
}

// In a transaction, so that it is one session's.
const untraced = (amount) => (row, think) => source.transaction(async (manager) => {
  const account = await manager.findOneBy(Account, { id: row });
  await think();
  await manager.update(Account, row, { balance: account.balance - amount });
  return { pid: (await manager.query('SELECT pg_backend_pid() AS pid'))[0].pid };
});

async function withdrawBuilt(row, amount, think) {
  const account = await accounts.createQueryBuilder('a').where('a.id = :row', { row }).getOne();
  await think();
  await accounts.createQueryBuilder().update().set({ balance: account.balance - amount }).where('id = :row', { row }).execute();
}

async function withdrawSaved(row, amount, think) {
  const account = await accounts.findOneBy({ id: row });
  await think();
  account.balance -= amount;
  await accounts.save(account);
}

const withdrawLocked = (row, amount, think) => source.transaction(async (manager) => {
  const account = await manager.findOne(Account, { where: { id: row }, lock: { mode: 'pessimistic_write' } });
  await think();
  account.balance -= amount;
  await manager.save(Account, account);
});

async function withdrawDecremented(row, amount, think) {
  await accounts.findOneBy({ id: row });
  await think();
  await accounts.decrement({ id: row }, 'balance', amount);
}

async function withdrawComputed(row, amount, think) {
  await accounts.findOneBy({ id: row });
  await think();
  await accounts.update(row, { balance: () => `balance - ${amount}` });
}

const both = (row, title, outcome, work, told) => race(row, title, outcome, work(100), work(200), told);

async function main() {
  await source.initialize();
  await both(1, 'transaction(), update()', 'lost', untraced);
  await both(2, 'update()', 'lost', traced(withdraw));
  await both(3, 'QueryBuilder', 'lost', traced(withdrawBuilt));
  await both(4, 'save(), which reads anew before it writes: it cannot be told', 'none', traced(withdrawSaved), { final: '900' });
  await both(5, 'pessimistic_write', 'none', traced(withdrawLocked), { waits: true });
  await both(6, 'decrement()', 'none', traced(withdrawDecremented));
  await both(7, 'update() with an expression', 'none', traced(withdrawComputed));
  await source.destroy();
}

main().catch((failure) => {
  console.error(failure);
  process.exit(1);
});
