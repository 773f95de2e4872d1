import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, killIfAlive } from './machine.ts';
import { cleanEnvironment, ROOT, type Exit, type TestProcess } from './process.ts';
import type { Story } from './story.ts';

/** How long a start may take, in ms; it builds the dashboard when that is not built. */
const READY_DEADLINE_MS = 120_000;

/** Where a Rookery lives; a second start at the same place finds what the first one left. */
export interface Place {
  readonly dataDir: string;
  readonly port: number;
  readonly agentPort: number;
}

export const ADMIN_EMAIL = 'admin@rookery.local';

export async function newPlace(story: Story, name = 'rookery'): Promise<Place> {
  const dataDir = await story.directory(name);
  story.stateDir(join(dataDir, 'agent'));
  return { dataDir, port: await freePort(), agentPort: await freePort() };
}

/** Runs `npm start` without waiting for anything. */
export function runRookery(story: Story, place: Place, settings: Readonly<Record<string, string>> = {}): TestProcess {
  return story.start({
    label: `npm start (${place.dataDir})`,
    command: ['npm', 'start'],
    cwd: ROOT,
    env: cleanEnvironment({
      ROOKERY_DATA_DIR: place.dataDir,
      ROOKERY_PORT: String(place.port),
      ROOKERY_AGENT_PORT: String(place.agentPort),
      ...settings,
    }),
  });
}

/** Runs `npm start` and waits until it is ready. */
export async function startRookery(
  story: Story,
  place: Place,
  settings: Readonly<Record<string, string>> = {},
): Promise<Rookery> {
  const started = runRookery(story, place, settings);
  await started.waitForOutput(/Ready in [\d.]+ s/, READY_DEADLINE_MS);
  return new Rookery(started, place);
}

/** A Rookery in embedded mode that is ready. */
export class Rookery {
  readonly process: TestProcess;
  readonly url: string;
  readonly #place: Place;

  constructor(started: TestProcess, place: Place) {
    this.process = started;
    this.#place = place;
    this.url = `http://127.0.0.1:${place.port}`;
  }

  /** The password that a first start makes up and prints; undefined when none was printed. */
  get printedPassword(): string | undefined {
    return /Password\s+(\S+)\s+\(shown only now\)/.exec(this.process.stdout)?.[1];
  }

  /** Ctrl-C. */
  stop(): Promise<Exit> {
    return this.process.stop('SIGINT');
  }

  /** Kills the one process that is the control plane, as running out of memory would; its children live on. */
  async kill(): Promise<void> {
    const { dataDir } = this.#place;
    const { pid: owner } = JSON.parse(await readFile(join(dataDir, 'rookery.pid'), 'utf8')) as { pid: number };
    const members = await this.process.members();
    if (!members.some(({ pid }) => pid === owner))
      throw new Error(`process ${owner} is not one that this story started`);
    killIfAlive(owner);
    await this.process.exited;
  }
}
