import { exportJWK, generateKeyPair } from 'jose';
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider, { type Configuration } from 'oidc-provider';

/** Whom the provider says that somebody is. */
export interface Person {
  readonly sub: string;
  readonly email?: string;
  readonly email_verified?: boolean;
  readonly name?: string;
}

/** Someone new, whose address the provider vouches for. */
export const newPerson = (person: Partial<Person> = {}): Person => ({
  sub: randomUUID(),
  email: `${randomUUID()}@example.com`,
  email_verified: true,
  name: 'Ada',
  ...person,
});

export const CLIENT_ID = 'rookery';
export const CLIENT_SECRET = 'what only rookery and the provider know';

/** An OpenID Connect provider on this machine. Everyone who comes is {@link person} and agrees to everything. */
export class TestOidcProvider implements AsyncDisposable {
  readonly issuer: string;
  /** Who signs in next; null for someone who changes their mind. */
  person: Person | null = null;
  readonly #server: ReturnType<typeof createServer>;
  readonly #people = new Map<string, Person>();

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** @param redirectUris where people may be sent back to. */
  static async start(redirectUris: string[], settings: Partial<Configuration> = {}): Promise<TestOidcProvider> {
    let handle: (request: IncomingMessage, response: ServerResponse) => void = () => {};
    const server = createServer((request, response) => handle(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const test = new TestOidcProvider(server);
    const provider = new Provider(test.issuer, {
      clients: [{ client_id: CLIENT_ID, client_secret: CLIENT_SECRET, redirect_uris: redirectUris }],
      claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
      pkce: { required: () => true },
      jwks: { keys: [await signingKey()] },
      cookies: { keys: [randomUUID()] },
      features: { devInteractions: { enabled: false } },
      interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
      findAccount: (_ctx, sub) => ({
        accountId: sub,
        claims: () => ({ ...(test.#people.get(sub) ?? { sub }) }),
      }),
      // Nobody is asked whether they agree.
      async loadExistingGrant(ctx) {
        const { client, session } = ctx.oidc;
        const grant = new ctx.oidc.provider.Grant({
          clientId: client?.clientId ?? '',
          accountId: session?.accountId ?? '',
        });
        grant.addOIDCScope('openid email profile');
        await grant.save();
        return grant;
      },
      ...settings,
    });
    const callback = provider.callback();
    handle = (request, response) => {
      if (!request.url?.startsWith('/interaction/')) return void callback(request, response);
      const { person } = test;
      if (person) test.#people.set(person.sub, person);
      const result = person ? { login: { accountId: person.sub } } : { error: 'access_denied' };
      void provider.interactionFinished(request, response, result);
    };
    return test;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

async function signingKey() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig', kid: 'test' } as never;
}

/** Follows redirects and keeps cookies as a browser does: by host name and path, whatever the port. */
export class TestBrowser {
  readonly #cookies = new Map<string, { value: string; path: string }>();
  /** Every `Set-Cookie` that it was sent. */
  readonly received: string[] = [];

  async get(url: string): Promise<Response> {
    const { pathname } = new URL(url);
    const sent = [...this.#cookies].filter(([, { path }]) => pathname === path || pathname.startsWith(withSlash(path)));
    const response = await fetch(url, {
      redirect: 'manual',
      headers: sent.length > 0 ? { cookie: sent.map(([name, { value }]) => `${name}=${value}`).join('; ') } : {},
    });
    for (const header of response.headers.getSetCookie()) this.#keep(header);
    return response;
  }

  /**
   * Follows redirects until one leads to a URL that fits, which is not visited.
   *
   * @throws when there is a page before that.
   */
  async follow(url: string, until: (url: URL) => boolean): Promise<URL> {
    for (let at = new URL(url), hops = 0; hops < 20; hops++) {
      const response = await this.get(at.href);
      const location = response.headers.get('location');
      if (!location) throw new Error(`${at.href} answered ${response.status}: ${await response.text()}`);
      at = new URL(location, at);
      if (until(at)) return at;
    }
    throw new Error('the redirects do not end');
  }

  cookie(name: string): string | undefined {
    return this.#cookies.get(name)?.value;
  }

  setCookie(name: string, value: string, path: string): void {
    this.#cookies.set(name, { value, path });
  }

  #keep(header: string): void {
    this.received.push(header);
    const [pair = '', ...attributes] = header.split(';').map((part) => part.trim());
    const [name = '', value = ''] = pair.split(/=(.*)/s);
    const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice(5) ?? '/';
    const isOver = attributes.some((attribute) => /^max-age=0$/i.test(attribute) || /^expires=.*1970/i.test(attribute));
    if (isOver || value === '') this.#cookies.delete(name);
    else this.#cookies.set(name, { value, path });
  }
}

const withSlash = (path: string): string => (path.endsWith('/') ? path : `${path}/`);
