import type { ViewerQuery as ViewerData } from '#lib/gql/generated/graphql.ts';
import { query } from '#lib/gql/client.ts';
import { ApiError } from '#lib/gql/errors.ts';
import { ViewerQuery } from './session.operations.ts';

export type Viewer = NonNullable<ViewerData['viewer']>;

let viewer = $state.raw<Viewer | null>(null);

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
    try {
      viewer = (await query(ViewerQuery, {})).viewer;
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'UNAUTHENTICATED') throw error;
      viewer = null;
    }
    return viewer;
  },

  /** @returns null when it worked, else why not, in words. */
  async signIn(email: string, password: string): Promise<string | null> {
    const response = await request('POST', { email, password });
    if (response === null) return 'The server cannot be reached. Check the connection and try again.';
    if (response.ok) return null;
    if (response.status === 401) return 'The email or the password is not right.';
    if (response.status === 429) return 'Too many attempts. Please wait a moment and try again.';
    return (await errorOf(response)) ?? 'Signing in failed. Please try again.';
  },

  /** @returns false when the server could not be told; the session lives on then. */
  async signOut(): Promise<boolean> {
    const response = await request('DELETE');
    if (!response?.ok && response?.status !== 401) return false;
    viewer = null;
    return true;
  },

  forget(): void {
    viewer = null;
  },
};

async function request(method: 'POST' | 'DELETE', body?: object): Promise<Response | null> {
  try {
    return await fetch('/session', {
      method,
      credentials: 'same-origin',
      headers: { 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
  } catch {
    return null;
  }
}

async function errorOf(response: Response): Promise<string | null> {
  try {
    const body: unknown = await response.json();
    if (typeof body === 'object' && body !== null && 'error' in body && typeof body.error === 'string')
      return body.error;
  } catch {
    // Not JSON: a proxy answered.
  }
  return null;
}
