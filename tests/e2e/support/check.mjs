// One line a check, bounded waiting, and the numbers at the end.
import assert from 'node:assert/strict';

let passed = 0;
let failed = 0;
let section = '';

export { assert };

export function begin(title) {
  section = title;
}

// Waits for the promise, so long at most: what hangs is a failure with a name.
export async function within(milliseconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${milliseconds / 1000} s`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// Asks until `probe` gives something true; the error tells what it gave last.
export async function until(what, probe, milliseconds = 30_000) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${milliseconds / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function check(name, body, milliseconds = 150_000) {
  const began = Date.now();
  const took = () => `${((Date.now() - began) / 1000).toFixed(1)} s`;
  try {
    const note = await within(milliseconds, 'the check', body());
    ++passed;
    console.log(`ok    ${section}: ${name}  (${took()}${note ? `; ${note}` : ''})`);
  } catch (error) {
    ++failed;
    console.log(`FAIL  ${section}: ${name}  (${took()})`);
    const text = error instanceof assert.AssertionError ? error.message : String(error?.stack ?? error);
    for (const line of text.split('\n').slice(0, 60)) console.log(`      ${line}`);
  }
}

export function summary() {
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0 ? 0 : 1;
}
