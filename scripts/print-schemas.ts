import { composeServices, compositionHasErrors } from '@theguild/federation-composition';
import { buildSchema, execute, lexicographicSortSchema, parse, printSchema, type GraphQLSchema } from 'graphql';
import { readFile, writeFile } from 'node:fs/promises';
import { accountsSchema } from '@rookery/control/accounts/accounts.ts';
import { agentChannelSchema } from '@rookery/control/fleet/agent-channel/agent-channel.schema.ts';
import { fleetSchema } from '@rookery/control/fleet/fleet.ts';
import { nodesSchema } from '@rookery/control/nodes/nodes.ts';

/**
 * Prints the schemas that are committed: the public API, the supergraph that the gateway loads, and
 * the two private schemas of the agent protocol. With `--check` it only says whether they are up to date.
 */
const generated = new Map([
  ...(await publicSchemas()),
  ['control/agent-channel.graphql', printed(agentChannelSchema())],
  // Written by hand, for agents resolve it by name; here it is put in order.
  [
    'agent/schema.graphql',
    printed(buildSchema(await readFile(new URL('../agent/schema.graphql', import.meta.url), 'utf8'))),
  ],
]);

const check = process.argv.includes('--check');
const stale: string[] = [];
for (const [file, content] of generated) {
  const path = new URL(`../${file}`, import.meta.url);
  if ((await readFile(path, 'utf8').catch(() => '')) === content) continue;
  stale.push(file);
  if (!check) await writeFile(path, content);
}
if (check && stale.length > 0) {
  console.error(`Not up to date: ${stale.join(', ')}. Run "npm run generate".`);
  process.exitCode = 1;
} else console.log(stale.length > 0 ? `Wrote ${stale.join(', ')}.` : 'The printed schemas are up to date.');

async function publicSchemas(): Promise<[string, string][]> {
  const subgraphs = { accounts: accountsSchema(), fleet: fleetSchema(), nodes: nodesSchema() };
  const services = await Promise.all(
    Object.entries(subgraphs).map(async ([name, schema]) => ({
      name,
      url: `http://${name}`,
      typeDefs: parse(await subgraphSdl(schema)),
    })),
  );
  const composed = composeServices(services);
  if (compositionHasErrors(composed)) throw new Error(composed.errors.map(({ message }) => message).join('\n'));
  return [
    ['supergraph.graphql', `${composed.supergraphSdl.trim()}\n`],
    ['schema.graphql', printed(buildSchema(composed.publicSdl))],
  ];
}

async function subgraphSdl(schema: GraphQLSchema): Promise<string> {
  const { data } = await execute({ schema, document: parse('{ _service { sdl } }') });
  return (data as { _service: { sdl: string } })._service.sdl;
}

function printed(schema: GraphQLSchema): string {
  return `${printSchema(lexicographicSortSchema(schema))}\n`;
}
