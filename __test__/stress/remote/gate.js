'use strict';

/** Lets the loops of a process go on, or rest. */
class Gate {
  #loops;
  #isOpen = false;
  #resting = [];
  #onRest = () => {};

  /** @param {number} loops */
  constructor(loops) {
    this.#loops = loops;
  }

  /** Resolves when a loop may make its next step; at once, mostly. */
  async pass() {
    if (this.#isOpen) return;
    await new Promise((resolve) => {
      this.#resting.push(resolve);
      if (this.#resting.length === this.#loops) this.#onRest();
    });
  }

  open() {
    this.#isOpen = true;
    for (const resolve of this.#resting.splice(0)) resolve();
  }

  /** Resolves when all loops rest. */
  async close() {
    this.#isOpen = false;
    if (this.#resting.length === this.#loops) return;
    await new Promise((resolve) => (this.#onRest = resolve));
  }
}

module.exports = { Gate };
