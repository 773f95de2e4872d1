import { startEmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** A real PostgreSQL server; each test file makes databases of its own on it. */
    postgresUrl: string;
  }
}

/** One PostgreSQL server for a run of the integration tests. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'rookery-test-'));
  const postgres = await startEmbeddedPostgres(directory, silentLogger());
  project.provide('postgresUrl', postgres.url);
  return async () => {
    await postgres[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  };
}
