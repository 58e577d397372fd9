// The bank in Sequelize, as its manual has it: findByPk(), compute, save().

const { AsyncLocalStorage } = require('node:async_hooks');
const { Sequelize, DataTypes, Op, Transaction, OptimisticLockError, literal } = require('sequelize');
const { race, newTraceparent } = require('./race.js');

// The request that is under way.
const request = new AsyncLocalStorage();

const connect = (options) => new Sequelize('', process.env.PGUSER, '', {
  dialect: 'postgres', host: process.env.PGHOST, port: process.env.PGPORT, database: process.env.PGDATABASE, logging: false, ...options,
});

function define(sequelize, options) {
  const Owner = sequelize.define('Owner', { name: DataTypes.STRING }, { timestamps: false });
  const Account = sequelize.define('Account', { balance: { type: DataTypes.INTEGER, allowNull: false } }, options);
  Owner.hasMany(Account);
  Account.belongsTo(Owner);
  return { sequelize, Owner, Account };
}

const plain = define(connect({ pool: { max: 4 } }));
const versioned = define(connect({ pool: { max: 4 } }), { version: true });

// What @google-cloud/sqlcommenter-sequelize does; it itself needs packages that are not made any more.
const { Query } = plain.sequelize.dialect;
const { run } = Query.prototype;
Query.prototype.run = function commented(sql, options) {
  const pairs = { db_driver: `sequelize:${Sequelize.version}`, client_timezone: this.sequelize.options.timezone, ...request.getStore() };
  if (sql.includes('--') || sql.includes('/*') || !request.getStore()) {
    return run.call(this, sql, options);
  }
  const comment = Object.keys(pairs).sort().map((key) => `${encodeURIComponent(key)}='${encodeURIComponent(pairs[key])}'`).join(',');
  return run.call(this, `${sql} /*${comment}*/`, options);
};

// Runs it as a request of its own trace, to a route.
const traced = (work) => (amount) => (row, think) => {
  const traceparent = newTraceparent();
  const route = '/accounts/:id/withdraw';
  return request.run({ traceparent, route }, async () => {
    await work(row, amount, think);
    return { trace: traceparent.slice(3, 35), request: route };
  });
};

async function withdraw(row, amount, think) {
  const account = await plain.Account.findByPk(row);
  await think();
  account.balance -= amount;
  await account.save();
}

// In a transaction, so that it is one session's.
const untraced = (amount) => (row, think) => plain.sequelize.transaction(async (transaction) => {
  const account = await plain.Account.findByPk(row, { transaction });
  await think();
  account.balance -= amount;
  await account.save({ transaction });
  return { pid: transaction.connection.processID };
});

async function withdrawIncluded(row, amount, think) {
  const owner = await plain.Owner.findOne({ where: { name: `owner ${row}` }, include: [plain.Account] });
  await think();
  await owner.Accounts[0].update({ balance: owner.Accounts[0].balance - amount });
}

async function withdrawNested(row, amount, think) {
  const [account] = await plain.Account.findAll({ where: { id: { [Op.in]: literal(`(SELECT max(id) FROM "Accounts" WHERE "OwnerId" = ${row})`) } }, raw: true });
  await think();
  await plain.sequelize.transaction(async (outer) => {
    await plain.sequelize.transaction({ transaction: outer }, async (transaction) => {
      await plain.Account.update({ balance: account.balance - amount }, { where: { id: row }, returning: true, transaction });
    });
  });
}

async function withdrawUpsert(row, amount, think) {
  const account = await plain.Account.findByPk(row, { attributes: ['id', 'balance'] });
  await think();
  await plain.Account.upsert({ id: row, balance: account.balance - amount });
}

async function withdrawBulk(row, amount, think) {
  const [account] = await plain.sequelize.query('SELECT * FROM "Accounts" WHERE id = $id', { bind: { id: row }, type: 'SELECT' });
  await think();
  await plain.Account.bulkCreate([{ ...account, balance: account.balance - amount }], { updateOnDuplicate: ['balance'] });
}

async function withdrawReloaded(row, amount, think) {
  const account = await plain.Account.findByPk(row);
  await think();
  await plain.sequelize.transaction(async (transaction) => {
    await account.reload({ lock: transaction.LOCK.UPDATE, transaction });
    account.balance -= amount;
    await account.save({ transaction });
  });
}

const withdrawLocked = (row, amount, think) => plain.sequelize.transaction(async (transaction) => {
  const account = await plain.Account.findByPk(row, { lock: transaction.LOCK.UPDATE, transaction });
  await think();
  account.balance -= amount;
  await account.save({ transaction });
});

async function withdrawDecremented(row, amount, think) {
  const account = await plain.Account.findByPk(row);
  await think();
  await account.decrement('balance', { by: amount });
}

async function withdrawLiteral(row, amount, think) {
  const account = await plain.Account.findByPk(row);
  await think();
  await account.update({ balance: literal(`balance - ${amount}`) });
}

async function withdrawVersioned(row, amount, think) {
  for (;;) {
    try {
      const account = await versioned.Account.findByPk(row);
      await think();
      account.balance -= amount;
      await account.save();
      return;
    } catch (failure) {
      if (!(failure instanceof OptimisticLockError)) throw failure;
    }
  }
}

async function withdrawAgain(row, amount, think) {
  for (;;) {
    try {
      await plain.sequelize.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.REPEATABLE_READ }, async (transaction) => {
        const account = await plain.Account.findByPk(row, { transaction });
        await think();
        account.balance -= amount;
        await account.save({ transaction });
      });
      return;
    } catch (failure) {
      if (failure.parent?.code !== '40001') throw failure;
    }
  }
}

const both = (row, title, outcome, work, told) => race(row, title, outcome, work(100), work(200), told);

async function main() {
  await both(1, 'transaction(), save()', 'lost', untraced);
  await both(2, 'save(), comments as of sqlcommenter-sequelize', 'lost', traced(withdraw));
  await both(3, 'the same connections without comments', 'lost', untraced);
  await both(4, 'include', 'lost', traced(withdrawIncluded));
  await both(5, 'a subquery, nested transactions, returning', 'lost', traced(withdrawNested));
  await both(6, 'upsert()', 'lost', traced(withdrawUpsert));
  await both(7, 'query(), bulkCreate(updateOnDuplicate)', 'lost', traced(withdrawBulk));
  await both(8, 'LOCK.UPDATE', 'none', traced(withdrawLocked), { waits: true });
  await both(9, 'read, then reload(LOCK.UPDATE)', 'none', traced(withdrawReloaded));
  await both(10, 'decrement()', 'none', traced(withdrawDecremented));
  await both(11, 'literal()', 'none', traced(withdrawLiteral));
  await both(12, 'version: true', 'none', traced(withdrawVersioned));
  await both(13, 'REPEATABLE READ', 'none', traced(withdrawAgain));
  await Promise.all([plain.sequelize.close(), versioned.sequelize.close()]);
}

main().catch((failure) => {
  console.error(failure);
  process.exit(1);
});
