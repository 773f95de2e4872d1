import { StartupError } from '@rookery/wire/errors.ts';
import { z } from 'zod';
import { readFileIfThere, writeFileAtomic } from '@rookery/wire/files.ts';
import type { IssuedCredentials } from './control-api.ts';

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
  };
}

/** Keeps credentials in a file that only its owner can read. */
export class CredentialStore {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws {StartupError} when there is a file and it is not what we write. */
  async load(): Promise<Credentials | undefined> {
    const text = await readFileIfThere(this.#path);
    if (text === undefined) return undefined;
    try {
      return credentialsSchema.parse(JSON.parse(text));
    } catch (cause) {
      throw new StartupError(
        `The credentials in ${this.#path} cannot be read; restore the file, or remove it and register again with a new token.`,
        { cause },
      );
    }
  }

  /** Durable when it resolves: only then may the credentials be used. */
  save(credentials: Credentials): Promise<void> {
    return writeFileAtomic(this.#path, JSON.stringify(credentials));
  }
}
