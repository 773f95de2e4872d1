import { StartupError } from '@rookery/wire/errors.ts';
import { readFileIfThere, removeFileDurably, writeFileAtomic } from '@rookery/wire/files.ts';
import { z } from 'zod';
import type { IssuedCredentials } from './control-api.ts';

/** A key that control signs with. */
export const controlKeySchema = z.object({ kid: z.string().min(1), publicKey: z.string().min(1) });
export type ControlKey = z.infer<typeof controlKeySchema>;

const credentialsSchema = z.object({
  controlUrl: z.string(),
  hostId: z.string(),
  hostName: z.string(),
  accessToken: z.string(),
  /** By this machine's clock, in ms since the epoch. */
  issuedAt: z.number(),
  accessTokenExpiresAt: z.number(),
  refreshToken: z.string(),
  refreshTokenExpiresAt: z.number(),
  /** The keys by which control is believed that this host was deleted. */
  controlKeys: z.array(controlKeySchema).default([]),
});

/** What makes this machine a host of one control plane. */
export type Credentials = z.infer<typeof credentialsSchema>;

/** Dates issued credentials by this machine's clock, which may be off: only differences are used. */
export function toCredentials(controlUrl: string, issued: IssuedCredentials, now: number): Credentials {
  return {
    controlUrl,
    hostId: issued.hostId,
    hostName: issued.hostName,
    accessToken: issued.accessToken,
    issuedAt: now,
    accessTokenExpiresAt: now + issued.accessTokenExpiresInSeconds * 1_000,
    refreshToken: issued.refreshToken,
    refreshTokenExpiresAt: now + issued.refreshTokenExpiresInSeconds * 1_000,
    controlKeys: issued.controlKeys,
  };
}

/**
 * What control has said of the saved credentials. `REFUSED`: it does not renew them, proven by its
 * answer. `CLONED`: two machines have used them, and the owner has to decide. `DELETED`: it has signed
 * that the host is gone. `LEFT`: they were given up, and there are none any more.
 */
export const CREDENTIAL_STATES = ['ACTIVE', 'REFUSED', 'CLONED', 'DELETED', 'LEFT'] as const;

const statusSchema = z.object({
  state: z.enum(CREDENTIAL_STATES),
  /** In control's words; null while there is nothing to say. */
  reason: z.string().nullable(),
  since: z.string(),
});
export type CredentialStatus = z.infer<typeof statusSchema>;

/** Which host a machine is, or was before it lost or gave up its credentials. */
const knownHostSchema = z.object({ hostId: z.string(), hostName: z.string(), controlUrl: z.string() });
export type KnownHost = z.infer<typeof knownHostSchema>;

/** Keeps credentials, and what is known of them, in files that only their owner can read. */
export class CredentialStore {
  readonly #path: string;
  readonly #statusPath: string;
  #host: KnownHost | undefined;

  constructor(paths: { readonly credentials: string; readonly credentialStatus: string }) {
    this.#path = paths.credentials;
    this.#statusPath = paths.credentialStatus;
  }

  /** @throws {StartupError} when there is a file and it is not what we write. */
  async load(): Promise<Credentials | undefined> {
    const text = await readFileIfThere(this.#path);
    if (text === undefined) return undefined;
    try {
      return (this.#host = credentialsSchema.parse(JSON.parse(text)));
    } catch (cause) {
      throw new StartupError(
        `The credentials in ${this.#path} cannot be read; restore the file, or remove it and register again with a new token.`,
        { cause },
      );
    }
  }

  /** Durable when it resolves: only then may the credentials be used. */
  async save(credentials: Credentials): Promise<void> {
    await writeFileAtomic(this.#path, JSON.stringify(credentials));
    this.#host = credentials;
  }

  /** Forgets who this host was; only a signed word of control is reason enough. */
  async drop(): Promise<void> {
    await removeFileDurably(this.#path);
    await removeFileDurably(this.#statusPath);
    this.#host = undefined;
  }

  /** Forgets credentials that were given up, and remembers that, and whose they were. */
  async leave(credentials: Credentials): Promise<void> {
    const { hostName, hostId, controlUrl } = (this.#host = credentials);
    const reason = `Host ${hostName} (${hostId}) of ${controlUrl} has left.`;
    // Before they are gone: nothing else may know whose the sandboxes are.
    await this.saveStatus({ state: 'LEFT', reason, since: new Date().toISOString() }).catch(() => {});
    await removeFileDurably(this.#path);
  }

  /** The host that this machine is or was last, also without credentials; undefined when that is not known. */
  async lastHost(): Promise<KnownHost | undefined> {
    if (this.#host) return this.#host;
    const parsed = z.object({ host: knownHostSchema }).safeParse(await this.#readStatus());
    return parsed.success ? parsed.data.host : undefined;
  }

  /** `ACTIVE` when nothing else was written, or it cannot be read: it is a notice, and nothing hangs on it. */
  async loadStatus(): Promise<CredentialStatus> {
    const parsed = statusSchema.safeParse(await this.#readStatus());
    return parsed.success ? parsed.data : { state: 'ACTIVE', reason: null, since: new Date(0).toISOString() };
  }

  /** With the host, which so is known also when the credentials are lost. */
  async saveStatus(status: CredentialStatus): Promise<void> {
    const host = await this.lastHost();
    const { hostId, hostName, controlUrl } = host ?? {};
    await writeFileAtomic(
      this.#statusPath,
      JSON.stringify(host ? { ...status, host: { hostId, hostName, controlUrl } } : status),
    );
  }

  async #readStatus(): Promise<unknown> {
    const text = await readFileIfThere(this.#statusPath).catch(() => undefined);
    return text === undefined ? undefined : parseJson(text);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
