import { defineConfig } from 'vitest/config';

const ignored = ['**/node_modules/**', '**/dist/**', '**/build/**'];

/** One copy of graphql: vitest would load its ESM build beside the CommonJS one, and `instanceof GraphQLError` tells the two apart. */
const resolve = { alias: [{ find: /^graphql$/, replacement: `${import.meta.dirname}/node_modules/graphql/index.js` }] };

/**
 * Three kinds of tests, told apart by their names:
 *
 * - `*.test.ts`, beside the file: pure logic, no process, no database.
 * - `*.integration.test.ts`, beside the file: real PostgreSQL, real sockets, a real OCI runtime.
 * - `e2e/<story>/*.e2e.ts`: stories across real processes, and journeys in a real browser.
 *
 * What a test needs and does not find is a failure that says so, never a skip.
 */
export default defineConfig({
  test: {
    projects: [
      {
        resolve,
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...ignored, '**/*.integration.test.ts'],
        },
      },
      {
        resolve,
        test: {
          name: 'integration',
          include: ['**/*.integration.test.ts'],
          exclude: ignored,
          globalSetup: './control/test/postgres.setup.ts',
          testTimeout: 30_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        resolve,
        test: {
          name: 'e2e',
          include: ['e2e/**/*.e2e.ts'],
          exclude: ignored,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          // Each story starts a whole Rookery; two at once on two cores make each other late.
          maxWorkers: 1,
          fileParallelism: false,
        },
      },
    ],
  },
});
