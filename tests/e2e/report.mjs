// Collects what passed and what did not.

/** One suite's results: a line for each failure, a count at the end. */
export class Report {
  constructor(name) {
    this.name = name;
    this.passed = 0;
    this.failures = [];
  }

  /** Runs one check; it fails by throwing. */
  async check(title, run) {
    try {
      await run();
      this.passed += 1;
    } catch (error) {
      this.failures.push(title);
      console.log(`not ok  ${title}\n        ${error.message}`);
    }
  }

  /** Prints the count; true when nothing failed. */
  close() {
    const total = this.passed + this.failures.length;
    console.log(`${this.failures.length === 0 ? 'ok' : 'not ok'}  ${this.name}: ${this.passed} of ${total}`);
    return this.failures.length === 0;
  }
}

export function expect(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}
