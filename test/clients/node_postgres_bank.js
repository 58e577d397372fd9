// The bank in node-postgres, with and without the comments of OpenTelemetry's instrumentation, and in Knex.

const { traced } = require('./tracing.js');
const { race, newTraceparent } = require('./race.js');
const { Pool } = require('pg');
const knex = require('knex')({ client: 'pg', connection: {}, pool: { min: 0, max: 4 } });

const pool = new Pool({ max: 4 });
const one = new Pool({ max: 1 });

async function withdraw(row, amount, think) {
  const { rows } = await pool.query('SELECT balance FROM "Accounts" WHERE id = $1', [row]);
  await think();
  await pool.query('UPDATE "Accounts" SET balance = $1 WHERE id = $2', [rows[0].balance - amount, row]);
}

async function withdrawSimply(row, amount, think) {
  const { rows } = await pool.query(`SELECT * FROM "Accounts" WHERE id = ${row}`);
  await think();
  await pool.query(`UPDATE "Accounts" SET balance = ${rows[0].balance - amount} WHERE id = ${row};`);
}

async function withClient(run) {
  const client = await pool.connect();
  try {
    return await run(client);
  } finally {
    client.release();
  }
}

// A session of its own, which nobody names; several statements in one text.
const untraced = (amount) => (row, think) => withClient(async (client) => {
  const { rows } = await client.query('SELECT balance FROM "Accounts" WHERE id = $1', [row]);
  await think();
  await client.query(`BEGIN; UPDATE "Accounts" SET balance = ${rows[0].balance - amount} WHERE id = ${row}; COMMIT`);
  return { pid: client.processID };
});

// Prepared statements get no comment, for it would be that of the first request for ever: so it is set.
const prepared = (amount) => (row, think) => withClient(async (client) => {
  const traceparent = newTraceparent();
  await client.query('BEGIN');
  await client.query("SELECT set_config('trace_ext.traceparent', $1, true)", [traceparent]);
  let rows;
  for (let i = 0; i < 10; i++) {
    ({ rows } = await client.query({ name: 'read', text: 'SELECT balance FROM "Accounts" WHERE id = $1', values: [row] }));
  }
  await think();
  await client.query({ name: 'write', text: 'UPDATE "Accounts" SET balance = $1 WHERE id = $2', values: [rows[0].balance - amount, row] });
  await client.query('COMMIT');
  return { trace: traceparent.slice(3, 35) };
});

// The same prepared statements, when nobody names the request any more.
const preparedUntraced = (amount) => (row, think) => withClient(async (client) => {
  const { rows } = await client.query({ name: 'read', text: 'SELECT balance FROM "Accounts" WHERE id = $1', values: [row] });
  await think();
  await client.query({ name: 'write', text: 'UPDATE "Accounts" SET balance = $1 WHERE id = $2', values: [rows[0].balance - amount, row] });
  return { pid: client.processID };
});

async function withdrawByKnex(row, amount, think) {
  const account = await knex('Accounts').where({ id: row }).first();
  await think();
  await knex('Accounts').where({ id: row }).update({ balance: account.balance - amount });
}

// One connection serves both requests in turn, and nobody names them.
const pooled = (amount) => async (row, think) => {
  const { rows } = await one.query('SELECT balance FROM "Accounts" WHERE id = $1', [row]);
  await think();
  await one.query('UPDATE "Accounts" SET balance = $1 WHERE id = $2', [rows[0].balance - amount, row]);
};

async function withdrawFromOne(row, amount, think) {
  const { rows } = await one.query('SELECT balance FROM "Accounts" WHERE id = $1', [row]);
  await think();
  await one.query('UPDATE "Accounts" SET balance = $1 WHERE id = $2', [rows[0].balance - amount, row]);
}

async function withdrawLocked(row, amount, think) {
  await withClient(async (client) => {
    await client.query('BEGIN');
    const { rows } = await client.query('SELECT balance FROM "Accounts" WHERE id = $1 FOR UPDATE', [row]);
    await think();
    await client.query('UPDATE "Accounts" SET balance = $1 WHERE id = $2', [rows[0].balance - amount, row]);
    await client.query('COMMIT');
  });
}

async function withdrawAtOnce(row, amount, think) {
  await pool.query('SELECT balance FROM "Accounts" WHERE id = $1', [row]);
  await think();
  await pool.query('UPDATE "Accounts" SET balance = balance - $1 WHERE id = $2', [amount, row]);
}

// Writes only if nobody else has, and reads again if so.
async function withdrawCompared(row, amount, think) {
  for (let written = 0; !written;) {
    const { rows } = await pool.query('SELECT balance FROM "Accounts" WHERE id = $1', [row]);
    await think();
    ({ rowCount: written } = await pool.query('UPDATE "Accounts" SET balance = $1 WHERE id = $2 AND balance = $3',
      [rows[0].balance - amount, row, rows[0].balance]));
  }
}

async function withdrawLockedByKnex(row, amount, think) {
  await knex.transaction(async (trx) => {
    const account = await trx('Accounts').where({ id: row }).forUpdate().first();
    await think();
    await trx('Accounts').where({ id: row }).update({ balance: account.balance - amount });
  });
}

const both = (row, title, outcome, run, told) => race(row, title, outcome, run(100), run(200), told);

async function main() {
  await both(1, 'a client', 'lost', untraced);
  await both(2, 'comments of @opentelemetry/instrumentation-pg', 'lost', traced(withdraw));
  await both(3, 'without parameters', 'lost', traced(withdrawSimply));
  await both(4, 'trace_ext.traceparent, prepared statements', 'lost', prepared);
  await both(5, 'the same prepared statements without a traceparent', 'lost', preparedUntraced);
  await both(6, 'Knex', 'lost', traced(withdrawByKnex));
  await both(7, 'one connection for both', 'lost', traced(withdrawFromOne));
  await both(8, 'one connection for both, which nobody names: it cannot be told', 'none', pooled, { final: '900' });
  await both(9, 'FOR UPDATE', 'none', traced(withdrawLocked), { waits: true });
  await both(10, 'one UPDATE', 'none', traced(withdrawAtOnce));
  await both(11, 'compare and set', 'none', traced(withdrawCompared));
  await both(12, 'Knex, forUpdate()', 'none', traced(withdrawLockedByKnex), { waits: true });
  await Promise.all([pool.end(), one.end(), knex.destroy()]);
}

main().catch((failure) => {
  console.error(failure);
  process.exit(1);
});
