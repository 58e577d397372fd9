// What the programs of Node share: two requests of which the second comes while the first
// thinks, and a line of JSON that says what became of it.

const { randomBytes } = require('node:crypto');

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Runs first, and second while first thinks: each gets a function to call between its read and
// its write. The second is over then, or waits for a lock. What they return names them.
async function race(row, title, outcome, first, second, { waits = false, ...told } = {}) {
  const names = {};
  let meanwhile;
  const think = async () => {
    if (!meanwhile) {
      meanwhile = second(row, async () => {}).then((name) => { names.winner = name; });
      await (waits ? Promise.race([meanwhile, sleep(1500)]) : meanwhile);
    }
  };
  names.loser = await first(row, think);
  await meanwhile;
  console.log(JSON.stringify({ row, title, outcome, ...names, ...told }));
}

const newTraceparent = () => `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;

module.exports = { race, newTraceparent };
