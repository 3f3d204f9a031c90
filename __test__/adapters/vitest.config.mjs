import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['*.vitest.mjs'], pool: 'forks', testTimeout: 20_000, fileParallelism: false },
});
