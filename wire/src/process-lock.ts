import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { StartupError } from './errors.ts';
import { readFileIfThere } from './files.ts';

/** Tries before giving up when several processes start at once and keep taking the stale lock from each other. */
const TAKEOVER_ATTEMPTS = 5;

interface LockOwner {
  readonly pid: number;
  /** Start time of that process in clock ticks since boot: a reused pid has another one. */
  readonly startTime: string;
  readonly bootId: string;
}

/** The pid of the process that holds a lock, or undefined. */
export async function lockHolder(path: string): Promise<number | undefined> {
  const text = await readFileIfThere(path);
  const owner = text === undefined ? undefined : parseOwner(text);
  return owner && (await isAlive(owner)) ? owner.pid : undefined;
}

/**
 * Takes a lock that is kept until it is disposed or its process ends. A lock whose process is gone is taken over.
 *
 * A file and not flock(2), which Node does not offer.
 *
 * @param refusal what to tell the operator when the process `pid` holds it, in one sentence.
 * @throws {StartupError} when another process holds it.
 */
export async function acquireLock(path: string, refusal: (pid: number) => string): Promise<AsyncDisposable> {
  const mine = JSON.stringify({ pid: process.pid, ...(await identityOf(process.pid)) } satisfies Partial<LockOwner>);
  for (let attempt = 0; attempt < TAKEOVER_ATTEMPTS; attempt++) {
    if (await linkWhole(path, mine)) return { [Symbol.asyncDispose]: () => release(path, mine) };
    const theirs = await readFileIfThere(path);
    if (theirs === undefined) continue;
    const owner = parseOwner(theirs);
    if (owner && (await isAlive(owner))) {
      throw new StartupError(refusal(owner.pid));
    }
    await removeStale(path, theirs);
  }
  throw new StartupError('Several processes are starting on the same directory at once; try again.');
}

/** link(2) makes the lock appear with its whole content or not at all. */
async function linkWhole(path: string, content: string): Promise<boolean> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  await writeFile(temporary, content, { mode: 0o600 });
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Moves the stale lock aside, and puts it back if in the meantime somebody else's fresh one stood there. */
async function removeStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}.stale`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if ((await readFile(aside, 'utf8')) !== stale) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
}

async function release(path: string, mine: string): Promise<void> {
  if ((await readFileIfThere(path)) === mine) await rm(path, { force: true });
}

async function isAlive(owner: LockOwner): Promise<boolean> {
  const now = await identityOf(owner.pid);
  return now !== undefined && now.startTime === owner.startTime && now.bootId === owner.bootId;
}

async function identityOf(pid: number): Promise<Omit<LockOwner, 'pid'> | undefined> {
  const stat = await readFileIfThere(`/proc/${pid}/stat`);
  const bootId = await readFileIfThere('/proc/sys/kernel/random/boot_id');
  if (stat === undefined || bootId === undefined) return undefined;
  // The command name (field 2) may hold spaces and brackets; fields are counted after its last bracket.
  const startTime = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  return startTime === undefined ? undefined : { startTime, bootId: bootId.trim() };
}

function parseOwner(text: string): LockOwner | undefined {
  try {
    const value = JSON.parse(text) as Partial<LockOwner>;
    return typeof value.pid === 'number' && typeof value.startTime === 'string' && typeof value.bootId === 'string'
      ? (value as LockOwner)
      : undefined;
  } catch {
    return undefined;
  }
}
