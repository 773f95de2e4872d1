import type { ViewerQuery as ViewerData } from '#lib/gql/generated/graphql.ts';
import { query } from '#lib/gql/client.ts';
import { ApiError } from '#lib/gql/errors.ts';
import { ViewerQuery } from './session.operations.ts';

export type Viewer = NonNullable<ViewerData['viewer']>;

let viewer = $state.raw<Viewer | null>(null);
let readings = 0;

/**
 * Who is signed in. The session itself is an HttpOnly cookie that scripts cannot read; this only knows what the
 * server says about it.
 */
export const session = {
  get viewer(): Viewer | null {
    return viewer;
  },

  /**
   * Asks the server who is signed in.
   *
   * @returns null when nobody is.
   * @throws ApiError when the server does not answer: that is not the same as "signed out".
   */
  async load(): Promise<Viewer | null> {
    const reading = ++readings;
    const found = await readViewer();
    // Of two readings at once the later one knows more.
    if (reading === readings) viewer = found;
    return found;
  },

  /** @returns null when it worked. */
  async signIn(email: string, password: string): Promise<SessionRefusal | null> {
    const response = await request('POST', '/session', { email, password });
    if (response?.status === 401) return { message: 'The email or the password is not right.' };
    return refusalOf(response, 'Signing in failed. Please try again.');
  },

  /** Joins a team as a new person, or as the one that the invited address belongs to, and signs in. */
  async acceptInvitation(token: string, name: string, password: string): Promise<SessionRefusal | null> {
    const response = await request('POST', '/session/invitation', { token, name, password });
    if (response?.status === 401)
      return { message: 'This address has an account already, and this is not its password.' };
    return refusalOf(response, 'Joining failed. Please try again.');
  },

  /** @returns false when the server could not be told; the session lives on then. */
  async signOut({ everywhere = false } = {}): Promise<boolean> {
    const response = await request('DELETE', everywhere ? '/session?everywhere=1' : '/session');
    if (!response?.ok && response?.status !== 401) return false;
    viewer = null;
    return true;
  },

  forget(): void {
    readings++;
    viewer = null;
  },
};

async function readViewer(): Promise<Viewer | null> {
  try {
    return (await query(ViewerQuery, {})).viewer;
  } catch (error) {
    if (error instanceof ApiError && error.code === 'UNAUTHENTICATED') return null;
    throw error;
  }
}

/** Why somebody was not let in. */
export interface SessionRefusal {
  readonly message: string;
  /** When trying again makes sense, milliseconds; only when there were too many attempts. */
  readonly retryAt?: number;
}

async function request(method: 'POST' | 'DELETE', path: string, body?: object): Promise<Response | null> {
  try {
    return await fetch(path, {
      method,
      credentials: 'same-origin',
      headers: { 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
  } catch {
    return null;
  }
}

/** @returns null when it worked, else why not, in words. */
async function refusalOf(response: Response | null, otherwise: string): Promise<SessionRefusal | null> {
  if (response === null) return { message: 'The server cannot be reached. Check the connection and try again.' };
  if (response.ok) return null;
  const { error, retryAfterSeconds } = await bodyOf(response);
  if (response.status === 429) {
    const seconds = Number(retryAfterSeconds ?? response.headers.get('retry-after'));
    const message = 'Too many attempts.';
    return seconds > 0 ? { message, retryAt: Date.now() + seconds * 1_000 } : { message: `${message} Please wait.` };
  }
  return { message: typeof error === 'string' ? error : otherwise };
}

async function bodyOf(response: Response): Promise<{ error?: unknown; retryAfterSeconds?: unknown }> {
  try {
    const body: unknown = await response.json();
    return typeof body === 'object' && body !== null ? body : {};
  } catch {
    // Not JSON: a proxy answered.
    return {};
  }
}
