import { createControl } from '@rookery/control/app.ts';
import { controlConfigSchema } from '@rookery/control/config.ts';
import { startEmbeddedPostgres } from '@rookery/control/database/embedded-postgres.ts';
import { createFederation } from '@rookery/gateway/federation.ts';
import { silentLogger } from '@rookery/wire/log.ts';
import { parse, type FormattedExecutionResult } from 'graphql';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/process.ts';
import { ADMIN_EMAIL } from '../support/rookery.ts';
import { Story } from '../support/story.ts';

const PASSWORD = 'correct horse battery';
const TEAMS = 7;
const HOSTS = 100;

const story = new Story();

it('a page of hosts with their teams’ names costs one call to each subgraph, however many teams', async () => {
  const postgres = story.use(await startEmbeddedPostgres(await story.directory('postgres'), silentLogger()));
  const control = story.use(
    await createControl({
      config: controlConfigSchema.parse({
        ROOKERY_AGENT_PORT: '0',
        ROOKERY_ADMIN_PASSWORD: PASSWORD,
      }),
      databaseUrl: postgres.url,
      serveSubgraphs: false,
      log: silentLogger(),
    }),
  );
  const calls: string[] = [];
  const federation = await createFederation(
    await readFile(join(ROOT, 'supergraph.graphql'), 'utf8'),
    {
      execute: (subgraph, { document, variables, operationName, caller }) => {
        calls.push(subgraph);
        return control.execute(subgraph, { document, variables, operationName }, caller);
      },
      isReady: () => control.isReady(),
      [Symbol.asyncDispose]: async () => {},
    },
    silentLogger(),
  );

  const { sessions, teams } = control.accounts.services;
  const { token, viewer } = await sessions.signIn({ email: ADMIN_EMAIL, password: PASSWORD }, {});
  for (let i = 0; i < HOSTS; i += 1) {
    const name = `team-${i % TEAMS}`;
    const known = await teams.list(viewer, name, { limit: 1, inverted: false });
    const team = known[0] ?? (await teams.createFor('control', { name, ownerId: viewer.id, isByoc: true }));
    await control.fleet.services.hosts.create(viewer, { name: `host-${i}`, kind: 'BYOC', teamId: team.id });
  }

  calls.length = 0;
  const { data, errors } = (await federation.execute(
    {
      document: parse('query { hosts(first: 100) { edges { node { name teamName team { name } } } } }'),
      variables: {},
      operationName: null,
      operationType: 'query',
    },
    { caller: { token } },
  )) as FormattedExecutionResult<{
    hosts: { edges: { node: { name: string; teamName: string; team: { name: string } } }[] };
  }>;
  expect(errors).toBeUndefined();
  expect(data?.hosts.edges).toHaveLength(HOSTS);
  for (const { node } of data?.hosts.edges ?? []) {
    expect(node.teamName).toBe(`team-${Number(node.name.slice('host-'.length)) % TEAMS}`);
    expect(node.team.name).toBe(node.teamName);
  }
  expect(calls.sort()).toEqual(['accounts', 'fleet']);
});
