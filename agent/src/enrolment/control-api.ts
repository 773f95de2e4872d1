import { AgentEndpoint } from '@rookery/wire/endpoints.ts';
import { StartupError } from '@rookery/wire/errors.ts';
import { z } from 'zod';
import {
  CONFIRM_CREDENTIALS,
  LEAVE_FLEET,
  REFRESH_HOST_CREDENTIALS,
  REGISTER_HOST,
} from '../channel/control.operations.ts';
import type {
  LeaveFleetInput,
  RefreshHostCredentialsInput,
  RegisterHostInput,
} from '../channel/generated/control-operations.ts';
import { controlKeySchema } from './credential.store.ts';

/** How long control may take to answer, in ms. */
const ANSWER_TIMEOUT_MS = 15_000;

const issuedSchema = z.object({
  hostId: z.string().min(1),
  hostName: z.string(),
  accessToken: z.string().min(1),
  accessTokenExpiresInSeconds: z.number().positive(),
  refreshToken: z.string().min(1),
  refreshTokenExpiresInSeconds: z.number().positive(),
  controlKeys: z.array(controlKeySchema),
});

/** Credentials as control issues them. */
export type IssuedCredentials = z.infer<typeof issuedSchema>;

const answerSchema = z.object({
  data: z.record(z.string(), z.unknown()).nullish(),
  errors: z
    .array(
      z.object({
        message: z.string(),
        extensions: z.object({ code: z.string().optional(), reason: z.string().optional() }).loose().optional(),
      }),
    )
    .optional(),
});

/**
 * Why control did not give credentials.
 *
 * `refused` is only said when it is proven by a GraphQL error with the code `UNAUTHENTICATED`; a
 * proxy's 401 or HTML page is not that, and is tried again. `out-of-turn` says nothing but the number
 * of the next request.
 */
export class ControlCallError extends Error {
  override readonly name = 'ControlCallError';
  readonly kind: 'refused' | 'rejected' | 'out-of-turn' | 'unreachable' | 'not-control';
  /** The `extensions` of control's answer; empty when it was not one. */
  readonly extensions: Readonly<Record<string, unknown>>;

  constructor(
    kind: ControlCallError['kind'],
    message: string,
    { extensions = {}, ...options }: ErrorOptions & { extensions?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options);
    this.kind = kind;
    this.extensions = extensions;
  }

  /** The finer reason under a code, for example `TOKEN_USED`. */
  get reason(): unknown {
    return this.extensions['reason'];
  }
}

/** What is asked of control about credentials, over plain HTTP; only the last of it needs an access token. */
export class ControlApi {
  readonly #endpoint: string;

  /** @param controlUrl a base URL that {@link parseControlUrl} has taken. */
  constructor(controlUrl: string) {
    this.#endpoint = controlUrl + AgentEndpoint.channel;
  }

  /** @throws {ControlCallError} */
  register(input: RegisterHostInput): Promise<IssuedCredentials> {
    return this.#credentials(REGISTER_HOST, input);
  }

  /** @throws {ControlCallError} */
  refresh(input: RefreshHostCredentialsInput): Promise<IssuedCredentials> {
    return this.#credentials(REFRESH_HOST_CREDENTIALS, input);
  }

  /** Uses an access token for nothing else than to be used. @throws {ControlCallError} when control did not hear of it. */
  async confirm(accessToken: string): Promise<void> {
    await this.#post(JSON.stringify({ query: CONFIRM_CREDENTIALS }), { authorization: `Bearer ${accessToken}` });
  }

  /** Gives the host's credentials up, with a proof by its key. @throws {ControlCallError} */
  async leave(input: LeaveFleetInput): Promise<void> {
    const { leaveFleet } = await this.#call(LEAVE_FLEET, input);
    if (typeof leaveFleet !== 'string') throw notControl('without the host that has left');
  }

  async #credentials(query: string, input: object): Promise<IssuedCredentials> {
    const issued = issuedSchema.safeParse((await this.#call(query, input))['credentials']);
    if (!issued.success) throw notControl('without credentials');
    return issued.data;
  }

  async #call(query: string, input: object): Promise<Record<string, unknown>> {
    const { status, text } = await this.#post(JSON.stringify({ query, variables: { input } }));
    const answer = answerSchema.safeParse(parseJson(text));
    if (!answer.success) throw notControl(`HTTP ${status} with something that is not of a control plane`);
    const [error] = answer.data.errors ?? [];
    if (error) {
      const { message, extensions = {} } = error;
      throw new ControlCallError(kindOf(extensions.code, extensions.reason), message, { extensions });
    }
    return answer.data.data ?? {};
  }

  async #post(body: string, headers: Record<string, string> = {}): Promise<{ status: number; text: string }> {
    try {
      const response = await fetch(this.#endpoint, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
        body,
        // A redirect would carry the token to wherever it points.
        redirect: 'manual',
        signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
      });
      return { status: response.status, text: await response.text() };
    } catch (error) {
      throw new ControlCallError('unreachable', reasonOf(error), { cause: error });
    }
  }
}

/**
 * Normalises the base URL of a control plane.
 *
 * @throws {StartupError} when it is not one.
 */
export function parseControlUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new StartupError(
      `"${text}" is not a URL; give the address of the control plane, for example https://control.example.`,
    );
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new StartupError(`"${text}" is not an http or https URL.`);
  }
  if (url.search !== '' || url.hash !== '' || url.username !== '') {
    throw new StartupError(`"${text}" must be a plain address without a user, query or fragment.`);
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

const notControl = (what: string): ControlCallError => new ControlCallError('not-control', `it answered ${what}`);

function kindOf(code: string | undefined, reason: string | undefined): ControlCallError['kind'] {
  if (reason === 'REQUEST_OUT_OF_TURN') return 'out-of-turn';
  if (code === 'UNAUTHENTICATED') return 'refused';
  return code === 'BAD_USER_INPUT' || code === 'CONFLICT' || code === 'FORBIDDEN' || code === 'NOT_FOUND'
    ? 'rejected'
    : 'unreachable';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `fetch failed` says nothing; its cause does. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${ANSWER_TIMEOUT_MS / 1000} seconds`;
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return cause.message || ((cause as NodeJS.ErrnoException).code ?? error.message);
}
