'use strict';

const { Spec } = require('mocha').reporters;

/** mocha's own report, closed by one line that counts: `N passed, N failed`. */
class Reporter extends Spec {
  epilogue() {
    super.epilogue();
    const { passes, failures, pending } = this.stats;
    const skipped = pending ? `, ${pending} skipped` : '';
    console.log(`${passes} passed, ${failures} failed${skipped}`);
  }
}

module.exports = Reporter;
