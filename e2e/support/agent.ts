import { delimiter } from 'node:path';
import { cleanEnvironment, type TestProcess } from './process.ts';
import type { Story } from './story.ts';

/** How long an agent may take from its command to being online, in ms. */
const ONLINE_DEADLINE_MS = 30_000;

/** An agent's process and where it keeps its state. */
export interface TestAgent {
  readonly process: TestProcess;
  readonly stateDir: string;
}

/**
 * Runs a join command as a person would on another machine: as printed, by a shell, in an empty
 * directory, with that machine's own Node. Only the state directory is added, because several
 * "machines" share this one.
 */
export async function runJoinCommand(
  story: Story,
  name: string,
  joinCommand: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestAgent> {
  const directory = await story.directory(name);
  const stateDir = story.stateDir(`${directory}/state`);
  const env = cleanEnvironment(settings);
  return {
    stateDir,
    process: story.start({
      label: `agent ${name}`,
      command: ['bash', '-c', `${joinCommand} --state-dir ${stateDir}`],
      cwd: directory,
      env: { ...env, PATH: machinePath(env['PATH']) },
    }),
  };
}

/** As {@link runJoinCommand}, and waits until the agent says that it is online. */
export async function joinHost(
  story: Story,
  name: string,
  joinCommand: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestAgent> {
  const agent = await runJoinCommand(story, name, joinCommand, settings);
  await agent.process.waitForOutput(/This host is online\./, ONLINE_DEADLINE_MS);
  return agent;
}

/** Without what npm puts in front: another machine has no `node_modules`. */
function machinePath(path = ''): string {
  return path
    .split(delimiter)
    .filter((entry) => !entry.includes('node_modules') && !entry.includes('node-gyp-bin'))
    .join(delimiter);
}
