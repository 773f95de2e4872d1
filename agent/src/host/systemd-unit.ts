import { SYSTEMD_UNIT } from '../embedded.ts';

/**
 * `rookery-agent systemd-unit`: the service of this agent, ready to be installed.
 *
 * @param node    absolute path of the Node that runs this.
 * @param program absolute path of the agent.
 */
export function systemdUnit({ node, program, stateDir }: { node: string; program: string; stateDir: string }): string {
  const values: Readonly<Record<string, string>> = { node, program, stateDir };
  return SYSTEMD_UNIT.replace(/@(\w+)@/g, (_whole, name: string) => escaped(values[name] ?? ''));
}

/** `%` begins a specifier in a unit, and a space ends a word. */
const escaped = (path: string): string => path.replaceAll('%', '%%').replaceAll(' ', '\\x20');
