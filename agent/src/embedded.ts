import { readFileSync } from 'node:fs';

/** Set by the bundler, which has no files beside it to read. */
declare const __ROOKERY_AGENT_EMBEDDED__: { version: string; schema: string; unit: string } | undefined;

const embedded = typeof __ROOKERY_AGENT_EMBEDDED__ === 'undefined' ? undefined : __ROOKERY_AGENT_EMBEDDED__;

const besides = (name: string): string => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');

/** The agent's version, as in its package. */
export const AGENT_VERSION: string =
  embedded?.version ?? (JSON.parse(besides('package.json')) as { version: string }).version;

/** The private schema the agent serves through its tunnel, as SDL. */
export const AGENT_SDL: string = embedded?.schema ?? besides('schema.graphql');

/** The systemd unit, with the paths of a machine left open. */
export const SYSTEMD_UNIT: string = embedded?.unit ?? besides('systemd/rookery-agent.service');
